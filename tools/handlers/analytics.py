"""Reports whose figures the database computes."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, PlainValidator

from domain.analytics.model import GroupBy, ReportName
from domain.analytics.service import period_of
from domain.kernel import EngagementId
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.views import report_json
from tools.work import CallContext, Handler


def _moment(text: object) -> date | datetime:
    """Told apart by their form: pydantic alone takes a midnight for a whole day, whatever its time zone."""
    written = str(text)
    day = len(written) == len("2026-01-31")
    return date.fromisoformat(written) if day else datetime.fromisoformat(written.upper())


Moment = Annotated[date | datetime, PlainValidator(_moment)]
"""A date, which means its whole day in UTC, or an instant."""


class AnalyticsReport(Arguments):
    report: ReportName
    since: Moment | None = Field(default=None, alias="from")
    until: Moment | None = Field(default=None, alias="to")
    group_by: GroupBy | None = None
    engagement_id: UUID | None = None


async def analytics_report(arguments: AnalyticsReport, context: CallContext) -> Json:
    period = period_of(arguments.since, arguments.until, now=context.now)
    engagement_id = None if arguments.engagement_id is None else EngagementId(arguments.engagement_id)
    report = await context.work.analytics.report(arguments.report, period, arguments.group_by, engagement_id)
    return report_json(report)


ANALYTICS_REPORT = Handler(arguments=AnalyticsReport, work=analytics_report)

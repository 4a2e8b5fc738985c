"""Reports whose figures the database computes."""

from uuid import UUID

from pydantic import Field

from domain.analytics.model import GroupBy, ReportName
from domain.analytics.service import period_of
from domain.kernel import EngagementId
from domain.taint import Taint
from tools.handlers.arguments import Arguments
from tools.handlers.moments import Moment
from tools.outcomes import Json
from tools.views.releases import report_json
from tools.work import CallContext, Handler


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
    context.told.add(Taint(firm=True))
    return report_json(report)


ANALYTICS_REPORT = Handler(arguments=AnalyticsReport, work=analytics_report)

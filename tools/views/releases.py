"""How the controls of a release, sign-offs and reports are shown."""

from collections.abc import Iterable

from domain.analytics.model import Figure, Report, Series
from domain.kernel import Role
from domain.releases.model import SIGNED_BY, Release, ReleaseState, SignOff
from tools.outcomes import Json
from tools.views.values import given


def release_state_json(state: ReleaseState) -> Json:
    """A release control's state for an engagement, with what it needs and what is there."""
    return {
        "control": state.control,
        "engagement_id": str(state.engagement_id),
        "state": state.state,
        "needs": control_needs_json(state.needs),
        "missing": list(state.missing),
        "sign_offs": [sign_off_json(sign_off) for sign_off in state.sign_offs],
    }


def control_needs_json(kinds: Iterable[str]) -> list[Json]:
    """The kinds of sign-off that a control needs, each with who signs it."""
    return [{"kind": kind, "signed_by": str(SIGNED_BY.get(kind, Role.MANAGER))} for kind in kinds]


def sign_off_json(sign_off: SignOff) -> Json:
    """A person's word on one version of one thing."""
    return {
        "sign_off_id": str(sign_off.sign_off_id),
        "engagement_id": str(sign_off.engagement_id),
        "kind": sign_off.kind,
        "decision": sign_off.decision,
        "subject": sign_off.subject,
        "version": sign_off.version,
        "signed_by": sign_off.signed_by,
        "signed_role": sign_off.signed_role,
        "signed_at": sign_off.signed_at.isoformat(),
        "holds": sign_off.holds,
        **given(comment=sign_off.comment or None),
    }


def release_json(release: Release) -> Json:
    """What was released, on which evidence and whose word."""
    return {
        "release_id": str(release.release_id),
        "control": release.control,
        "engagement_id": str(release.engagement_id),
        "state": release.state,
        "evidence": [
            {"subject": each.subject, "version": each.version, **given(note=each.note or None)}
            for each in release.evidence
        ],
        "sign_off_ids": [str(sign_off_id) for sign_off_id in release.sign_off_ids],
        "call_id": str(release.call_id),
        "released_by": release.released_by,
        "released_at": release.released_at.isoformat(),
        **given(approved_by=release.approved_by),
    }


def report_json(report: Report) -> Json:
    """A report: figures, a table, a chart as data, and the same in one sentence."""
    return {
        "report": report.name,
        "from": report.period.since.isoformat(),
        "to": report.period.until.isoformat(),
        "first_day": report.period.first.isoformat(),
        "last_day": report.period.last.isoformat(),
        "group_by": report.group_by,
        "summary": report.summary,
        "headline": [_figure_json(figure) for figure in report.headline],
        "table": {"columns": list(report.table.columns), "rows": [list(row) for row in report.table.rows]},
        "chart": {
            "kind": "bar",
            "title": report.chart.title,
            "x_label": report.chart.x_label,
            "y_label": report.chart.y_label,
            "stacked": report.chart.stacked,
            "x": list(report.chart.x),
            "series": [_series_json(series) for series in report.chart.series],
        },
    }


def _series_json(series: Series) -> Json:
    return {"name": series.name, "label": series.label, "values": list(series.values)}


def _figure_json(figure: Figure) -> Json:
    return {"label": figure.label, "value": figure.value, **given(unit=figure.unit)}

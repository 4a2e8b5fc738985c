"""How sources of documents and what changed in them are shown."""

from knowledge.sources.model import ItemChange, StoredSource
from tools.outcomes import Json
from tools.views.values import given, id_text


def source_json(source: StoredSource) -> Json:
    """One source, and how its newest sync went."""
    report = source.report
    return {
        "source_id": str(source.source_id),
        "kind": source.kind,
        "name": source.name,
        "settings": dict(source.settings),
        "audience": source.audience,
        "trust": source.trust,
        "state": source.phase,
        "documents": source.documents,
        "created_at": source.created_at.isoformat(),
        "report": {
            "counts": dict(report.counts),
            "failing": report.failing,
            "unknown_readers": report.unknown_readers,
            "unexpanded": list(report.unexpanded),
            "notes": list(report.notes),
        },
        **given(
            engagement_id=id_text(source.engagement_id),
            task_id=id_text(source.task_id),
            created_by=source.created_by,
            failure=source.failure,
            rests_until=None if source.rests_until is None else source.rests_until.isoformat(),
            synced_at=None if source.synced_at is None else source.synced_at.isoformat(),
        ),
    }


def change_json(change: ItemChange) -> Json:
    """What became of one item."""
    return {
        "change_id": change.change_id,
        "kind": change.kind,
        "path": change.path,
        "at": change.at.isoformat(),
        **given(was=change.was, why=change.why, document_id=id_text(change.document_id)),
    }

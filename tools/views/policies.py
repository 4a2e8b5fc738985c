"""Policies and what a replay found, as tools, routes and commands show them."""

from domain.policies.model import PolicyChange
from tools.outcomes import Json
from tools.policy.files import PolicyFilesError
from tools.policy.own import own_rule
from tools.policy.replaying import Difference, Tally, Told
from tools.views.values import given


def policy_change_json(change: PolicyChange) -> Json:
    """One entry of the history of an organization's own policies; of one that was put in force, what it reads."""
    return {
        "policy_id": change.policy_id,
        "change": "removed" if change.text is None else "added",
        "reason": change.reason,
        "changed_by": change.changed_by,
        "changed_at": change.changed_at.isoformat(),
        "policies_digest": None if change.digest is None else change.digest.hex(),
        **({} if change.text is None else _read_json(change.text)),
    }


def _read_json(text: str) -> Json:
    """The text, and what it says and decides; a text that is no policy by now is shown as it is."""
    try:
        held = own_rule(text)
    except PolicyFilesError:
        return {"text": text}
    decision = "deny" if held.kind == "forbid" else "needs_approval"
    return {"text": text, "decision": decision, **given(says=held.rule.says)}


def differences_json(tally: Tally) -> Json:
    """What would change, counted by tool and role, and call by call as far as they were kept."""
    return {
        "by_tool_and_role": _groups_json(tally),
        "differences": [_difference_json(difference) for difference in tally.differences],
        "differences_left_out": tally.changed + tally.reasons_changed - len(tally.differences),
    }


def _groups_json(tally: Tally) -> list[Json]:
    return [
        {"tool": group.tool, "role": group.role, "from": group.before, "to": group.after, "verdicts": count}
        for group, count in tally.groups.most_common()
    ]


def _difference_json(difference: Difference) -> Json:
    recorded = difference.recorded
    shown: Json = {
        "call_id": str(recorded.call_id),
        "time": recorded.time.isoformat(),
        "tool": recorded.tool,
        "role": None if recorded.role is None else str(recorded.role),
        "mode": recorded.mode,
        "door": recorded.door,
        "at_execution": not recorded.opens,
        "before": {"decision": recorded.decision, "reasons": list(recorded.reasons)},
        "after": _told_json(difference.after),
    }
    return shown if difference.in_force is None else {**shown, "in_force": _told_json(difference.in_force)}


def _told_json(told: Told) -> Json:
    return {"decision": told.decision, "reasons": list(told.reasons)}

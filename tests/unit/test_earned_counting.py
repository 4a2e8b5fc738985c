"""What the agent's calls come to: the bound by published values, what counts for and against, what is left aside."""

from dataclasses import replace
from datetime import timedelta
from typing import Literal
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.earned.bounds import wilson_lower
from domain.earned.counting import EventSeen, found_in, incident_in
from domain.earned.model import EarnedRules, Ended, NewestCall, Undoing, acts_from, asks_at
from domain.kernel import CallId, Level, PrincipalId
from tests.support.calls import NOW

ASKER, OTHER = PrincipalId(uuid4()), PrincipalId(uuid4())
THING = UUID("00000000-0000-4000-8000-000000000001")
DONE = EventSeen(
    index=7,
    kind="tool.completed",
    call_id=CallId(uuid4()),
    tool="task_create",
    effect="prepare",
    mode="agent",
    at=NOW,
    principal_id=ASKER,
    asked=True,
    decided_by=OTHER,
    stands_in=False,
    arguments=None,
    result=orjson.dumps({"task": {"task_id": str(THING)}}).decode(),
)
HOW: dict[str, Literal["done", "failed", "rejected"]] = {
    "done": "done",
    "failed": "failed",
    "rejected": "rejected",
    "reversed": "done",
}
BY_HAND = replace(DONE, mode="person", tool="task_update", asked=False, decided_by=None, result=None)


# Source  R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3, 95 %.
@pytest.mark.parametrize(
    ("successes", "trials", "lower"), [(81, 263, 0.2553), (15, 148, 0.0624), (0, 20, 0.0), (1, 29, 0.0061)]
)
def test_the_bound_is_the_published_one(successes: int, trials: int, lower: float) -> None:
    assert round(wilson_lower(successes, trials, 1.959964), 4) == lower


@given(trials=st.integers(1, 500), data=st.data())
def test_the_bound_lies_below_the_share_and_grows_with_what_was_approved(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials - 1))
    fewer, more = (wilson_lower(number, trials, 1.96) for number in (successes, successes + 1))
    assert 0 <= fewer <= successes / trials
    assert fewer < more
    assert more <= wilson_lower(2 * (successes + 1), 2 * trials, 1.96)


def test_nothing_tried_bears_nothing() -> None:
    assert wilson_lower(0, 0, 1.96) == 0


def mark_of(event: EventSeen) -> str | None:
    found = found_in(event)
    return found.mark if isinstance(found, Ended) else None


def test_an_approval_counts_only_from_somebody_else_and_what_goes_wrong_counts_whoever_asked() -> None:
    assert mark_of(DONE) == "approved"
    assert mark_of(replace(DONE, decided_by=ASKER)) == "own"
    assert mark_of(replace(DONE, decided_by=None)) == "own", "nobody knows who decided"
    assert mark_of(replace(DONE, asked=False, decided_by=None)) == "unasked"
    for decided_by in (ASKER, OTHER):
        assert mark_of(replace(DONE, kind="tool.rejected", decided_by=decided_by)) == "rejected"
        assert mark_of(replace(DONE, kind="tool.failed", decided_by=decided_by)) == "failed"
    assert mark_of(replace(DONE, kind="tool.failed", asked=False, decided_by=None)) == "failed"


@pytest.mark.parametrize(
    "aside",
    [
        replace(DONE, effect="read"),
        replace(DONE, effect="irreversible"),
        replace(DONE, effect=None),
        replace(DONE, tool="autonomy_review"),
        replace(DONE, mode="person"),
    ],
)
def test_what_needs_no_autonomy_and_what_never_gets_any_is_left_aside(aside: EventSeen) -> None:
    assert found_in(aside) is None


@pytest.mark.parametrize(
    ("tool", "arguments", "undone"),
    [
        ("task_update", {"task_id": str(THING), "status": "cancelled"}, {"task_create"}),
        ("task_update", {"task_id": str(THING), "status": "done"}, None),
        ("task_update", {"task_id": str(THING)}, None),
        ("task_update", {"task_id": "no id", "status": "cancelled"}, None),
        ("task_run_cancel", {"task_run_id": str(THING)}, {"task_run"}),
        (
            "document_delete",
            {"document_id": str(THING)},
            {"document_upload", "document_from_url", "document_restore"},
        ),
        ("document_restore", {"document_id": str(THING)}, {"document_delete"}),
        ("task_create", {"task_id": str(THING), "status": "cancelled"}, None),
    ],
)
def test_a_person_undoes_by_cancelling_deleting_or_restoring(
    tool: str, arguments: dict[str, str], undone: set[str] | None
) -> None:
    found = found_in(replace(BY_HAND, tool=tool, arguments=orjson.dumps(arguments).decode()))
    assert (found.tools if isinstance(found, Undoing) else None) == undone
    assert found_in(replace(BY_HAND, tool=tool, arguments=None)) is None, "erased"


@pytest.mark.parametrize("odd", [None, "", "[]", "{", '{"task":[]}', '{"task":{"task_id":7}}', '{"task":null}'])
def test_an_odd_result_has_made_nothing(odd: str | None) -> None:
    found = found_in(replace(DONE, result=odd))
    assert isinstance(found, Ended)
    assert found.made is None


def newest(*how: str, reversed_after: timedelta | None = None) -> list[NewestCall]:
    at = None if reversed_after is None else NOW + reversed_after
    return [
        NewestCall(
            call_id=CallId(uuid4()),
            effect="prepare",
            how=HOW[each],
            at=NOW,
            reversed_at=at if each == "reversed" else None,
        )
        for each in how
    ]


def test_so_many_of_the_newest_calls_gone_wrong_are_an_incident_and_one_fewer_is_none() -> None:
    rules = EarnedRules(incident_calls=5, incidents_to_lower=3)
    soon = timedelta(days=30)
    wrong = newest("rejected", "done", "failed", "reversed", "done", reversed_after=soon)
    found = incident_in("task_create", wrong, rules)
    assert found is not None
    assert (len(found.calls), found.of) == (3, 5)
    assert incident_in("task_create", newest("rejected", "done", "failed", "done", "done", "failed"), rules) is None
    late = newest("rejected", "failed", "reversed", reversed_after=soon + timedelta(seconds=1))
    assert incident_in("task_create", late, rules) is None


def test_the_agent_asks_just_below_where_it_acts() -> None:
    assert (asks_at("task_create", "prepare"), acts_from("prepare")) == (Level.L1, Level.L2)
    assert (asks_at("document_delete", "commit"), acts_from("commit")) == (Level.L2, Level.L3)

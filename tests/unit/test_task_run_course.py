"""Which steps of a run may begin, and what its calls come to: the worker's turns, without a database."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from domain.kernel import ApprovalId, CallId, Level, Outcome, PrincipalId, TaskId, TaskRunId
from domain.tasks.model import QUEUED, TaskRun
from server.worker.course import Course, together
from server.worker.steps import Ended
from tools.workflows import Step, Workflow

NOW = datetime(2026, 11, 29, 9, 0, tzinfo=UTC)
ASKED = ApprovalId(uuid4())


def step(name: str, *needs: str, when: str | None = None, for_each: str | None = None) -> Step:
    return Step(name=name, tool="task_list", arguments={}, needs=needs, when=when, for_each=for_each)


def course_of(*steps: Step) -> Course:
    run = TaskRun(
        task_run_id=TaskRunId(uuid4()),
        task_id=TaskId(uuid4()),
        kind="tidy",
        input='{"days": 3, "none": []}',
        call_id=CallId(uuid4()),
        requester_id=PrincipalId(uuid4()),
        requested_by="lena@acme.example",
        engagement_id=None,
        created_at=NOW,
        progress=QUEUED,
    )
    return Course(
        run, Workflow(name="tidy", title="Tidy", description="", minimum_autonomy=Level.L2, steps=tuple(steps))
    )


def ended(outcome: Outcome | None, code: str | None = None, *approvals: ApprovalId) -> Ended:
    return Ended(call_id=CallId(uuid4()), outcome=outcome, error_code=code, approval_ids=approvals)


def begun(course: Course) -> Sequence[str]:
    return [found.name for found in course.take_ready()]


def test_steps_begin_together_once_all_that_they_need_is_done() -> None:
    a, b, c, d = step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c")
    course = course_of(a, b, c, d)
    assert begun(course) == ["a"]
    assert begun(course) == []
    course.end(a, ended("done"))
    assert begun(course) == ["b", "c"]
    course.end(c, ended("done"))
    assert begun(course) == []
    course.end(b, ended("done"))
    assert begun(course) == ["d"]
    course.end(d, ended("done"))
    assert course.done


def test_nothing_begins_after_a_failure_but_what_is_under_way_comes_to_its_end() -> None:
    a, b, c = step("a"), step("b"), step("c", "b")
    course = course_of(a, b, c)
    assert begun(course) == ["a", "b"]
    course.end(a, ended("failed", "timeout"))
    course.end(b, ended("done"))
    assert begun(course) == []
    assert (course.done, course.why_failed()) == (False, "a did not succeed: timeout")


def test_what_waits_for_a_person_keeps_nothing_else_from_being_done() -> None:
    a, b, c = step("a"), step("b"), step("c", "b")
    course = course_of(a, b, c)
    begun(course)
    course.end(a, ended("waiting", None, ASKED))
    course.end(b, ended("done"))
    assert begun(course) == ["c"]
    course.end(c, ended("done"))
    assert list(course.waits_for) == [("a", ASKED)]
    course.lapse("a")
    assert (list(course.waits_for), course.why_failed()) == ([], "a did not succeed: its approval expired")


@pytest.mark.parametrize(
    ("when", "passed_over"),
    [("input.days", False), ("input.none", True), ("input.missing", True), ("run.date", False), (None, False)],
)
def test_a_step_is_passed_over_where_its_condition_names_nothing(when: str | None, passed_over: bool) -> None:
    asked = step("a", when=when)
    assert course_of(asked).passes_over(asked) is passed_over


def test_a_step_that_is_passed_over_counts_as_done() -> None:
    a, b = step("a"), step("b", "a")
    course = course_of(a, b)
    begun(course)
    course.skip(a)
    assert begun(course) == ["b"]


def test_a_step_that_is_to_be_made_again_is_not_begun_before_its_time() -> None:
    a = step("a")
    course = course_of(a)
    begun(course)
    course.end(a, Ended(call_id=CallId(uuid4()), outcome=None, error_code="timeout", again_at=NOW))
    assert begun(course) == []
    assert (course.again_at, course.unsettled, course.done) == (NOW, False, False)
    assert course.said == "a failed (timeout) and is tried again, for the second time."


def test_the_share_done_counts_items() -> None:
    a, b = step("a"), step("b", for_each="a.items")
    course = course_of(a, b)
    course.end(a, ended("done"))
    course.begin(b, items=4)
    course.item_done(b)
    assert course.listed[1].share_done == 0.25
    assert course.said == "b: 1 of 4 …"


FAILED, DENIED, WAITS = ended("failed", "timeout"), ended("denied"), ended("waiting", None, ASKED)
RESTS = Ended(call_id=CallId(uuid4()), outcome=None, again_at=NOW)
CANCELLED = ended("denied", "task_run_cancelled")


@pytest.mark.parametrize(
    ("each", "outcome"),
    [
        ([], "done"),
        ([ended("done"), ended("done")], "done"),
        ([ended("done"), FAILED], "failed"),
        ([FAILED, WAITS], "waiting"),
        ([WAITS, RESTS, FAILED], None),
        ([ended("done"), CANCELLED, WAITS], "denied"),
    ],
)
def test_calls_for_several_items_are_at_their_end_when_each_is(each: Sequence[Ended], outcome: Outcome | None) -> None:
    assert together(each).outcome == outcome


def test_calls_for_several_items_give_their_results_in_order() -> None:
    done = [Ended(call_id=CallId(uuid4()), outcome="done", result={"n": n}) for n in range(3)]
    assert together(done).result == {"items": [{"n": 0}, {"n": 1}, {"n": 2}], "count": 3}

"""Which versions a message of a conversation has, and which run stands for each."""

from collections.abc import Iterable
from uuid import UUID

from agent.conversations.tree import Tree, TurnVersion
from domain.kernel import RunId


def run(number: int) -> RunId:
    return RunId(UUID(int=number))


def tree(*turns: tuple[int, int | None, int]) -> Tree:
    """Turns as (run, the run it follows, the run that its message came with)."""
    return Tree(
        [
            TurnVersion(
                run_id=run(own), parent_run_id=None if parent is None else run(parent), origin_run_id=run(origin)
            )
            for own, parent, origin in turns
        ]
    )


def numbers(runs: Iterable[RunId]) -> list[int]:
    return [each.int for each in runs]


def test_a_turn_that_nobody_touched_is_its_only_version() -> None:
    plain = tree((1, None, 1), (2, 1, 2))
    assert numbers(plain.versions(run(2), "user")) == [2]
    assert numbers(plain.versions(run(2), "assistant")) == [2]


def test_an_answer_given_again_is_a_version_of_the_answer_and_not_of_the_message() -> None:
    again = tree((1, None, 1), (2, None, 1), (3, 2, 3))
    assert numbers(again.versions(run(1), "assistant")) == [1, 2]
    assert numbers(again.versions(run(2), "user")) == [2]
    assert numbers(again.versions(run(3), "assistant")) == [3]


def test_a_message_written_anew_is_a_version_of_the_message_shown_by_its_newest_answer() -> None:
    edited = tree((1, None, 1), (2, None, 1), (3, None, 3), (4, None, 3))
    assert numbers(edited.versions(run(1), "user")) == [1, 4]
    assert numbers(edited.versions(run(3), "user")) == [2, 3]
    assert numbers(edited.versions(run(3), "assistant")) == [3, 4]


def test_what_follows_different_turns_are_no_versions_of_one_another() -> None:
    apart = tree((1, None, 1), (2, None, 1), (3, 1, 3), (4, 2, 4))
    assert numbers(apart.versions(run(3), "user")) == [3]
    assert numbers(apart.versions(run(4), "user")) == [4]

"""What is shown of an answer's second part: nothing twice, and never another answer as if it were the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import AssistantMessage, ModelRequest, UserMessage
from agent.providers.seam import ANCHOR_LENGTH, Differs, Seam, going_on

ANSWER = (
    "The policy asks for two signatures [1]. The first is the manager's, on the day of the count. The second is the "
    "partner's, before the file is archived.\n\n- Nobody signs for another.\n- A signature holds for one version.\n"
)
ASKED = ModelRequest(messages=(UserMessage(text="Who signs?"),), tools=())


def joined(shown: str, second: str, step: int = 5) -> str:
    """All the words that stand before the reader in the end."""
    seam, told = Seam(shown), shown
    for at in range(0, len(second), step):
        words = seam.take(second[at : at + step])
        if words is not None:
            told = words.text if isinstance(words, Differs) else told + words.text
    last = seam.end()
    if last is None:
        return told
    return last.text if isinstance(last, Differs) else told + last.text


@given(cut=st.integers(1, len(ANSWER) - 1), step=st.integers(1, 50))
def test_the_same_answer_again_is_shown_once(cut: int, step: int) -> None:
    assert joined(ANSWER[:cut], ANSWER, step) == ANSWER


@given(cut=st.integers(1, len(ANSWER) - 1), step=st.integers(1, 50), again=st.integers(4, 120))
def test_last_words_that_are_said_again_are_shown_once(cut: int, step: int, again: int) -> None:
    assert joined(ANSWER[:cut], ANSWER[max(0, cut - again) :], step) == ANSWER


@given(cut=st.integers(ANCHOR_LENGTH, len(ANSWER) - 1), step=st.integers(1, 50))
def test_a_model_that_does_as_it_is_told_loses_and_doubles_nothing(cut: int, step: int) -> None:
    told = going_on(ASKED, ANSWER[:cut]).messages[-1]
    assert isinstance(told, UserMessage)
    anchor = told.text.rsplit('Begin exactly with: "', 1)[1].removesuffix('")')
    second = ANSWER[ANSWER.rindex(anchor, 0, cut) :]
    assert joined(ANSWER[:cut], second, step) == ANSWER


@pytest.mark.parametrize("cut", [15, 40, 97])
def test_the_bare_rest_is_put_behind_what_was_shown(cut: int) -> None:
    assert joined(ANSWER[:cut], ANSWER[cut:]) == ANSWER


@pytest.mark.parametrize("cut", [50, 100, 140])
def test_another_answer_takes_the_place_of_the_one_that_was_shown(cut: int) -> None:
    other = "The policy asks for two signatures [1], of which one is electronic."
    assert joined(ANSWER[:cut], other) == other


def test_the_same_answer_that_ends_sooner_takes_the_place_of_the_longer_one() -> None:
    assert joined(ANSWER[:60], "The policy asks for two signatures [1].") == "The policy asks for two signatures [1]."


def test_a_second_part_that_adds_nothing_leaves_what_was_shown() -> None:
    assert joined("All is well.", "") == "All is well."
    assert joined("Long ago, all was said and all was well.", "all was well.") == (
        "Long ago, all was said and all was well."
    )


def test_the_rest_is_asked_for_behind_the_words_that_arrived() -> None:
    asked = going_on(ASKED, "The policy asks for ")
    assert asked.messages[:2] == (*ASKED.messages, AssistantMessage(text="The policy asks for "))
    assert going_on(ASKED, " ") is ASKED

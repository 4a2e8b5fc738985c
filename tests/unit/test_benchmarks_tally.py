"""What the benchmarks make of their raw figures; nothing here is timed."""

import subprocess
import sys

import psutil
import pytest

from benchmarks.floors import by_hand
from benchmarks.load import ChatDoor, WrongAnswer, drive
from benchmarks.model import AT_ONCE, PACED, TOOL, is_paced, paces
from benchmarks.processes import cpu_s, memory_mib
from benchmarks.stage import LOG_LINE_PREFIX, TASKS
from benchmarks.tally import Row, Target, added_ms, table, writing_transactions
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Turn

LOG = """\
2026-11-22 10:00:00.001 UTC [11] glow_app 0 LOG:  duration: 0.021 ms  statement: BEGIN;
2026-11-22 10:00:00.002 UTC [11] glow_app 0 LOG:  duration: 0.210 ms  execute s1: SELECT glow.begin_session($1, $2)
2026-11-22 10:00:00.003 UTC [11] glow_app 701 LOG:  duration: 0.040 ms  execute s2:
\tINSERT INTO runs (organization_id) VALUES ($1)
2026-11-22 10:00:00.003 UTC [11] glow_app 701 DETAIL:  Parameters: $1 = '1'
2026-11-22 10:00:00.004 UTC [11] glow_app 701 LOG:  duration: 0.040 ms  execute s3: UPDATE runs SET status = $1
2026-11-22 10:00:00.005 UTC [11] glow_app 0 LOG:  duration: 0.394 ms  statement: COMMIT;
2026-11-22 10:00:00.006 UTC [12] glow_recorder 702 LOG:  duration: 0.115 ms  execute s4: INSERT INTO run_events
2026-11-22 10:00:00.007 UTC [11] glow_app 703 LOG:  duration: 0.280 ms  execute s2: INSERT INTO runs
2026-11-22 10:00:00.008 UTC [13]  0 LOG:  checkpoint starting: time
"""


def test_transaction_that_writes_counts_once_however_many_statements_it_has() -> None:
    assert writing_transactions(LOG.splitlines()) == {"glow_app": 2, "glow_recorder": 1}


def test_log_is_asked_for_what_is_read_from_it() -> None:
    assert LOG_LINE_PREFIX.endswith("[%p] %u %x ")


def test_row_beside_a_floor_is_held_to_its_ratio() -> None:
    target = Target(of="ratio", must=0.4, aim=0.2)
    reached = [Row(name="cpu", unit="ms", ours=ours, floor=10, target=target).reached for ours in (2.0, 4.0, 4.1)]
    assert reached == ["aim", "must", "short"]


def test_row_may_be_held_to_its_figure_though_a_floor_stands_beside_it() -> None:
    row = Row(name="start", unit="s", ours=2.0, floor=0.5, target=Target(of="figure", must=3, aim=1.5))
    assert (row.ratio, row.reached) == (4.0, "must")


def test_row_without_target_or_floor_claims_nothing() -> None:
    row = Row(name="signs of life", unit="a second", ours=0.3)
    assert (row.ratio, row.reached) == (None, "")


def test_table_is_markdown_with_a_line_for_each_row() -> None:
    rows = [
        Row(name="cpu", unit="ms a turn", ours=4.0, floor=16.0, target=Target(of="ratio", must=0.4, aim=0.2)),
        Row(name="memory", unit="MiB", ours=120.4),
    ]
    assert table("A turn", rows).splitlines() == [
        "### A turn",
        "",
        "|                | ours | floor | ratio |  must |   aim | reached |",
        "| -------------- | ---- | ----- | ----- | ----- | ----- | ------- |",
        "| cpu, ms a turn | 4.00 |  16.0 |  0.25 | 0.4 x | 0.2 x |    must |",
        "| memory, MiB    |  120 |       |       |       |       |         |",
    ]


def test_what_a_server_adds_is_the_median_turn_less_the_models_own() -> None:
    assert added_ms([0.90, 0.93, 9.0], [0.80, 0.90, 0.91]) == pytest.approx(30)


def test_model_takes_its_time_only_where_it_was_asked_to() -> None:
    def body(*said: str) -> dict[str, object]:
        return {"messages": [{"role": "user", "content": words} for words in said]}

    assert [is_paced(body(*said)) for said in ((AT_ONCE,), (PACED,), (PACED, AT_ONCE), ())] == [
        False,
        True,
        False,
        False,
    ]
    slow = paces()(body(PACED))
    assert isinstance(slow, Turn)
    assert (slow.first_token_s, slow.per_token_s) == (0.1, 0.01)


async def test_turn_with_a_wrong_answer_stops_the_measuring() -> None:
    async with FakeOpenAI([Turn(text="word word")] * 2) as fake:

        def door(words: int) -> ChatDoor:
            url = f"{fake.base_url}/chat/completions"
            return ChatDoor(url=url, headers=[{}], word=b"word", words=words, signs=(b"finish_reason",))

        assert len(await drive(door(2), AT_ONCE, users=1, turns=1)) == 1
        with pytest.raises(ExceptionGroup) as caught:
            await drive(door(3), AT_ONCE, users=1, turns=1)
    assert caught.group_contains(WrongAnswer)


def test_processor_time_counts_what_ended_below_a_process_too() -> None:
    own = psutil.Process()
    before = cpu_s(own)
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert cpu_s(own) > before
    assert memory_mib(own) > 1


def test_floor_keeps_nothing_without_a_database_and_answers_with_the_same_tool() -> None:
    assert by_hand.app.title == "By hand"
    assert by_hand.TOOLS[0]["function"]["name"] == TOOL
    assert len(by_hand.TASKS) == TASKS

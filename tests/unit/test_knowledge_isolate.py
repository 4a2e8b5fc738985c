"""A document is prepared in a process of its own: what goes wrong there costs that document and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import psutil
import pytest

from knowledge import isolate
from knowledge.isolate import BROKE_OFF, IsolatedPreparer
from knowledge.parse.document import ParseLimits, Unreadable
from knowledge.prepare import prepare_document
from knowledge.wire import (
    PrepareRequest,
    ProcessLimits,
    parsed_answer,
    parsed_request,
    prepared_bytes,
    refused_bytes,
    request_bytes,
)
from tests.support.nursery import shared_pids

TEXT = "# Renewal\n\nThe letter of Émile 😀 is renewed.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n".encode()
LARGE = b"# Head\n\nSome words in a paragraph, and a [link](x).\n\n" * 60_000

START = isolate.start_nursery


@pytest.fixture(autouse=True)
def own_nursery(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried here is the real start and end, not what other tests share."""
    monkeypatch.setattr(isolate, "start_nursery", START)


def nurseries() -> list[psutil.Process]:
    """Those started here and still alive; the one that other tests share is none of them."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if "knowledge.parse_worker" in child.cmdline() and child.pid not in shared_pids():
                found.append(child)
    return found


def test_requests_and_answers_cross_the_wire_unchanged() -> None:
    request = PrepareRequest(
        title="T", media_type="text/plain", limits=ParseLimits(), budget=99, process=ProcessLimits(wall_s=1.5)
    )
    assert parsed_request(request_bytes(request, b"\x00file")) == (request, b"\x00file")
    prepared = prepare_document(TEXT, title="T", media_type="text/markdown")
    assert parsed_answer(prepared_bytes(prepared)) == prepared
    with pytest.raises(Unreadable, match="torn"):
        parsed_answer(refused_bytes("torn"))


async def test_a_document_comes_back_as_it_is_prepared_here() -> None:
    async with IsolatedPreparer() as preparer:
        prepared = await preparer.prepare(TEXT, title="Letters", media_type="text/markdown")
    assert prepared == prepare_document(TEXT, title="Letters", media_type="text/markdown")


async def test_a_reason_comes_back_in_the_words_of_the_parser() -> None:
    async with IsolatedPreparer(parse_limits=ParseLimits(size_bytes=300)) as preparer:
        with pytest.raises(Unreadable, match="not a text file"):
            await preparer.prepare(b"\x00\x01\x02" * 50, title="T", media_type="text/plain")
        with pytest.raises(Unreadable, match="at most 300 are read"):
            await preparer.prepare(b"x" * 301, title="T", media_type="text/plain")


@pytest.mark.parametrize(
    "limits",
    [ProcessLimits(wall_s=0.1), ProcessLimits(cpu_s=0), ProcessLimits(memory_bytes=50_000_000)],
    ids=["wall", "cpu", "memory"],
)
async def test_a_document_beyond_its_limits_is_given_up_and_the_next_one_read(limits: ProcessLimits) -> None:
    async with IsolatedPreparer(process_limits=limits) as preparer:
        with pytest.raises(Unreadable, match=r"too much time or broke off|more memory"):
            await preparer.prepare(LARGE, title="T", media_type="text/markdown")
    async with IsolatedPreparer() as preparer:
        assert (await preparer.prepare(b"x", title="T", media_type="text/plain")).text == "x"


async def test_a_slow_document_does_not_hold_up_another() -> None:
    async with IsolatedPreparer(process_limits=ProcessLimits(wall_s=20)) as preparer:
        slow = asyncio.create_task(preparer.prepare(LARGE, title="T", media_type="text/markdown"))
        await preparer.prepare(TEXT, title="T", media_type="text/markdown")
        assert not slow.done()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow


async def test_the_process_is_started_again_when_it_was_killed_between_documents() -> None:
    async with IsolatedPreparer() as preparer:
        await preparer.prepare(TEXT, title="T", media_type="text/markdown")
        (nursery,) = nurseries()
        nursery.kill()
        assert (await preparer.prepare(b"x", title="T", media_type="text/plain")).text == "x"
        assert nurseries() != [nursery]


async def test_the_process_knows_no_secret_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOW_JWT_SECRET", "hunter2")
    async with IsolatedPreparer() as preparer:
        await preparer.prepare(TEXT, title="T", media_type="text/markdown")
        (nursery,) = nurseries()
        assert set(nursery.environ()) <= {
            "PYTHONPATH",
            "PATH",
            "LANG",
            "LC_CTYPE",
            "PYTHONDONTWRITEBYTECODE",
            "OPENPYXL_LXML",
        }


async def test_nothing_is_left_running_behind() -> None:
    async with IsolatedPreparer() as preparer:
        await preparer.prepare(TEXT, title="T", media_type="text/markdown")
        assert nurseries()
    assert not nurseries()


async def test_what_breaks_off_says_so_in_words() -> None:
    assert str(Unreadable(BROKE_OFF)).startswith("The document could not be read: reading it took too much time")

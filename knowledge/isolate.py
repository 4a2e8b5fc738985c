"""Prepares documents in processes apart: a bomb, a crash or a hostile file costs one document and shows it nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from knowledge.chunk import DEFAULT_BUDGET
from knowledge.languages import Language
from knowledge.parse.document import DEFAULT_LIMITS, MediaType, ParseLimits, Unreadable
from knowledge.prepare import PreparedDocument
from knowledge.wire import TAKEN_UP, PrepareRequest, ProcessLimits, parsed_answer, request_bytes

BROKE_OFF: Final = "reading it took too much time or broke off; the file may be damaged"
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 5.0
LARGEST_ANSWER_BYTES: Final = 400_000_000
"""What ten million characters may come back as, with their terms; more than that no reader here ever sends."""

DEFAULT_PROCESS_LIMITS: Final = ProcessLimits()


class PreparationUnavailable(RuntimeError):
    """The process that prepares documents does not start: a fault of the installation, not of a document."""


@dataclass(frozen=True, slots=True)
class Nursery:
    """The running parent of the processes that read documents."""

    process: Process
    control: socket.socket

    def send(self, link: socket.socket) -> None:
        """Has a new process serve `link`; where that fails the link ends unanswered, as if the process had died."""
        with suppress(OSError):
            socket.send_fds(self.control, [b"+"], [link.fileno()])

    def kill(self) -> None:
        """End it at once; those that are reading go on."""
        with suppress(ProcessLookupError):
            self.process.kill()


class IsolatedPreparer:
    """Prepares documents, each in a process of its own, a few at once; `async with` ends what it started.

    The processes are forked from one that has the parsers loaded, has never seen a document and knows no secret of the
    server; it is started with the first document and again should it die.
    """

    def __init__(
        self,
        *,
        at_once: int = 2,
        process_limits: ProcessLimits = DEFAULT_PROCESS_LIMITS,
        parse_limits: ParseLimits = DEFAULT_LIMITS,
        budget: int = DEFAULT_BUDGET,
    ) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._process_limits = process_limits
        self._parse_limits = parse_limits
        self._budget = budget
        self._nursery: Nursery | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def prepare(
        self,
        content: bytes,
        *,
        title: str,
        media_type: MediaType,
        unpack: bool = True,
        language: Language | None = None,
    ) -> PreparedDocument:
        """What `prepare_document` gives, within the limits of time and memory.

        Raises  Unreadable: the file cannot be read, or not within the limits. PreparationUnavailable.
        """
        if len(content) > self._parse_limits.size_bytes:
            raise Unreadable(f"it has {len(content):,} bytes, and at most {self._parse_limits.size_bytes:,} are read")
        request = PrepareRequest(
            title=title,
            media_type=media_type,
            limits=self._parse_limits,
            budget=self._budget,
            process=self._process_limits,
            unpack=unpack,
            language=language,
        )
        async with self._places:
            received = await self._asked(request_bytes(request, content))
        try:
            # Off the loop: an answer may be many megabytes.
            return await asyncio.to_thread(parsed_answer, received)
        except ValueError as error:
            raise Unreadable(BROKE_OFF) from error

    async def aclose(self) -> None:
        """Ends the process that the others are forked from; one that is still reading ends by itself."""
        async with self._starting:
            if self._nursery is not None:
                await _stopped(self._nursery)
                self._nursery = None

    async def _asked(self, request: bytes) -> bytearray:
        """What one process answers, once it has taken the request up; cut short where it breaks off."""
        for _ in range(2):
            nursery = await self._started()
            received = await self._answer_of(nursery, request)
            if received.startswith(TAKEN_UP):
                del received[: len(TAKEN_UP)]
                return received
            # It died since its last document. A second failure is no chance and no document's fault.
            await self._discard(nursery)
        raise PreparationUnavailable("no process takes up documents; see the server's error output")

    async def _answer_of(self, nursery: Nursery, request: bytes) -> bytearray:
        link, far_end = socket.socketpair()
        with closing(far_end):
            nursery.send(far_end)
        reader, writer = await asyncio.open_connection(sock=link)
        received = bytearray()
        try:
            async with asyncio.timeout(self._process_limits.wall_s + STOP_TIMEOUT_S):
                writer.write(request)
                writer.write_eof()
                await _read_into(received, reader)
        except (TimeoutError, OSError):
            pass  # what came until then says how far it got
        finally:
            writer.transport.abort()
        return received

    async def _discard(self, nursery: Nursery) -> None:
        async with self._starting:
            if self._nursery is nursery:
                self._nursery = None
                nursery.kill()
                await _stopped(nursery)

    async def _started(self) -> Nursery:
        async with self._starting:
            if self._nursery is None:
                self._nursery = await start_nursery()
            return self._nursery


async def start_nursery() -> Nursery:
    """A running one. Raises  PreparationUnavailable."""
    control, far_end = socket.socketpair()
    async with AsyncExitStack() as on_failure:
        on_failure.callback(control.close)
        with closing(far_end):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "knowledge.parse_worker", str(far_end.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(far_end.fileno(),),
                env=environment(),
                # Ctrl-C at a terminal is for the server, which ends this process in its turn.
                start_new_session=True,
            )
        nursery = Nursery(process, control)
        on_failure.push_async_callback(_stopped, nursery)
        control.setblocking(False)
        if not await _is_ready(control):
            raise PreparationUnavailable("the process that reads documents does not start; see its error output")
        on_failure.pop_all()
        return nursery


async def _is_ready(control: socket.socket) -> bool:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            return bool(await asyncio.get_running_loop().sock_recv(control, 1))
    except (TimeoutError, OSError):
        return False


def environment() -> dict[str, str]:
    """What a process that reads hostile files needs: where the code lies, and nothing that opens a door."""
    code = str(Path(__file__).resolve().parent.parent)
    return {
        "PYTHONPATH": code,
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Wherever lxml is installed openpyxl would read some parts by it, and not by defusedxml.
        "OPENPYXL_LXML": "False",
    }


async def _stopped(nursery: Nursery) -> None:
    nursery.control.close()
    try:
        # In a task that was told to end, asyncio.timeout() of Python 3.11.2 lets its own cancellation through.
        await asyncio.wait_for(nursery.process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        nursery.kill()
        await nursery.process.wait()


async def _read_into(received: bytearray, reader: asyncio.StreamReader) -> None:
    while len(received) <= LARGEST_ANSWER_BYTES and (piece := await reader.read(1 << 20)):
        received += piece

"""The process that prepares documents: it never sees one itself, but forks a child for each that the kernel confines.

Started by knowledge.isolate as `python -m knowledge.parse_worker FD` with an environment that holds no secret. Each
message on that socket carries a socket of its own, over which one child reads one document, answers and ends.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import signal
import socket
import sys

from knowledge.chunk import chunk_document
from knowledge.parse.document import Unreadable
from knowledge.parse.markdown import parse_markdown
from knowledge.prepare import prepare_document
from knowledge.wire import TAKEN_UP, ProcessLimits, parsed_request, prepared_pieces, refused_bytes

READY = b"r"
TOO_LARGE = "it takes more memory to read than one document may have"


def serve(control: socket.socket) -> None:
    """Forks a child for each socket received, until the other side hangs up."""
    _warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    gc.freeze()
    control.sendall(READY)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as link:
                if os.fork() == 0:
                    control.close()
                    _answer_and_end(link)


def answer(link: socket.socket) -> None:
    """Reads one request, does what it asks within its limits, and sends what came of it."""
    link.sendall(TAKEN_UP)
    request, content = parsed_request(_received(link))
    confine(request.process)
    try:
        document = prepare_document(
            content,
            title=request.title,
            media_type=request.media_type,
            limits=request.limits,
            budget=request.budget,
            unpack=request.unpack,
            language=request.language,
        )
        for piece in prepared_pieces(document):
            link.sendall(piece)
    except Unreadable as refusal:
        link.sendall(refused_bytes(refusal.reason))
    except MemoryError:
        link.sendall(refused_bytes(TOO_LARGE))


def confine(limits: ProcessLimits) -> None:
    """Has the kernel hold this process to its limits: beyond time it is killed, beyond memory it is refused more."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.wall_s)
    _limit(resource.RLIMIT_CPU, limits.cpu_s)
    _limit(resource.RLIMIT_AS, limits.memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)


def _limit(kind: int, amount: int) -> None:
    # macOS refuses some of them; a limit that an administrator set lower is kept.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (amount, amount))


def _answer_and_end(link: socket.socket) -> None:
    """The whole life of a child; it ends without the clean-up that belongs to its parent."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 2)  # a traceback may quote the document
        answer(link)
        code = 0
    finally:
        os._exit(code)


def _received(link: socket.socket) -> bytes:
    pieces: list[bytes] = []
    while piece := link.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def _warm_up() -> None:
    """Loads what every document needs, once for all children: the token ranks take a third of a second."""
    for parser in ("pypdf", "openpyxl", "knowledge.parse.package"):
        importlib.import_module(parser)
    chunk_document(parse_markdown(b"warm"))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))

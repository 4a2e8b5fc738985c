"""How far something under way has come, as a bar that moves on standard error and leaves nothing behind."""

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from server.cli.printing import plain
from tools.outcomes import Tell, tell_nobody


@contextmanager
def moving_bar(words: str) -> Generator[Tell]:
    """A bar for the length of the block; whether that is a terminal is the caller's to have asked."""
    from rich import progress as bars
    from rich.console import Console
    from rich.markup import escape

    columns = (bars.BarColumn(), bars.TaskProgressColumn(), bars.TextColumn("{task.description}"))
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(plain(words)), total=1.0)

        def move(progress: float, message: str) -> None:
            bar.update(task, completed=progress, description=escape(plain(message)))

        yield move


@contextmanager
def told_at_terminal() -> Generator[Tell]:
    """A bar from the first word on, where there is a terminal; else nobody is told."""
    if not sys.stderr.isatty():
        yield tell_nobody
        return
    move: Tell | None = None
    with ExitStack() as stack:

        def tell(progress: float, message: str) -> None:
            nonlocal move
            if move is None:
                move = stack.enter_context(moving_bar(message))
            move(progress, message)

        yield tell

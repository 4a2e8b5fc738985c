"""An answer on a terminal as Markdown while it streams: finished blocks stand still, only the last one is redrawn."""

from collections.abc import Sequence
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from server.cli.chat.views import Known, citation_lines, lines_of, progress_line
from server.cli.laying_out import shown
from tools.outcomes import Json

_FENCES = ("```", "~~~")


class RichView:
    """Shows a run's words as Markdown, its calls and citations as dim lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._tail = ""
        self._known = Known()

    def show(self, text: str, event: Json) -> None:
        """The next event."""
        match event["type"]:
            case "message.delta":
                self._say(shown(event["delta"]))
            case "message.completed":
                self._settle()
                self._lines(citation_lines(event), "cyan")
            case "tool.progress":
                self._moves(progress_line(event, self._known))
            case _:
                lines = lines_of(event, self._known)
                if lines:
                    self._settle()
                    self._lines(lines, "dim")

    def close(self) -> None:
        """Leave the terminal as it is, also when the run was cut short."""
        self._settle()

    def _say(self, words: str) -> None:
        self._tail += words
        done, self._tail = settled(self._tail)
        if done.strip():
            self._stop()
            self._console.print(SafeMarkdown(done))
            self._console.print()
        self._redraw(SafeMarkdown(self._tail))

    def _moves(self, line: str) -> None:
        """A line that the next one takes the place of."""
        if self._tail:
            self._settle()
        self._redraw(Text(line, style="dim", no_wrap=True, overflow="ellipsis"))

    def _redraw(self, last: "SafeMarkdown | Text") -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="ellipsis")
            self._live.start()
        self._live.update(last, refresh=True)

    def _settle(self) -> None:
        self._stop()
        if self._tail.strip():
            self._console.print(SafeMarkdown(self._tail))
        self._tail = ""

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _lines(self, lines: Sequence[str], style: str) -> None:
        for line in lines:
            self._console.print(Text(line, style=style))


class SafeMarkdown(Markdown):
    """Markdown of a model's: markup of HTML is text, and a link shows where it leads instead of becoming one."""

    _parser: ClassVar = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")

    def __init__(self, words: str) -> None:
        super().__init__(words, hyperlinks=False)
        self.parsed = self._parser.parse(words)


def settled(words: str) -> tuple[str, str]:
    """The blocks that nothing still to come can change, and the rest; a fenced block is one, to its end."""
    lines, fence, at = words.split("\n"), "", 0
    cut = 0
    for line in lines[:-1]:
        at += len(line) + 1
        mark = line.lstrip()[:3]
        if fence:
            fence = "" if mark == fence else fence
        elif mark in _FENCES:
            fence = mark
        if not fence and not line.strip():
            cut = at
    return words[:cut], words[cut:]

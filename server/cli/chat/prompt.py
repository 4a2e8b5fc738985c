"""The line that a person types on, by prompt_toolkit: history in GLOW_HOME, several lines, Ctrl-C and Ctrl-D."""

import sys
import termios
from collections.abc import AsyncGenerator

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from server.home import GlowHome, HomeUnusable

HISTORY = "chat_history"
PRIVATE = 0o600


def history_in(home: GlowHome) -> History:
    """What was said at this terminal before; where the home keeps nothing for this account, only what is said now."""
    try:
        kept = home.ensure() / HISTORY
        kept.touch(mode=PRIVATE, exist_ok=True)
    except (HomeUnusable, OSError):
        return InMemoryHistory()
    return FileHistory(str(kept))


class Prompt:
    """Asks a person, and remembers what was said but not how questions were answered."""

    def __init__(self, history: History) -> None:
        self._lines = PromptSession[str](
            history=history, multiline=True, key_bindings=_keys(), prompt_continuation="  "
        )
        self._answers = PromptSession[str]()

    async def lines(self) -> AsyncGenerator[str]:
        """What the person says, until they leave; Ctrl-C drops the line that was being typed."""
        while True:
            try:
                yield await self._lines.prompt_async("> ")
            except KeyboardInterrupt:
                continue
            except EOFError:
                return

    async def ask(self, question: str) -> str | None:
        """The answer; None when the person would rather not.

        What was typed before the question stood there answers nothing.
        """
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
        clear_typeahead(self._answers.app.input)
        try:
            return await self._answers.prompt_async(question)
        except (KeyboardInterrupt, EOFError):
            return None


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add(Keys.Enter)
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add(Keys.Escape, Keys.Enter)
    def next_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    del send, next_line
    return keys

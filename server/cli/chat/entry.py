"""What `glow chat` was asked for: one message for a script, lines from a pipe, or a person at a terminal."""

import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from agent.conversations.refusals import UnknownAgent
from domain.kernel import DomainError
from server.cli.chat.session import Session, nobody, piped_lines
from server.cli.chat.talk import Talk
from server.cli.chat.views import JsonLines, Plain, View
from server.cli.failure import CommandFailed
from server.cli.opening import acting, acting_hub
from server.cli.printing import say
from server.cli.running import run
from server.hub import Hub


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of the command."""

    organization: str
    user: str | None
    agent: str | None
    conversation: str | None
    message: str | None
    as_json: bool


def chat(asked: Asked) -> bool:
    """Talk; False when the last answer failed."""
    return run(_chat(asked), log_level="ERROR")


async def _chat(asked: Asked) -> bool:
    async with acting_hub() as hub:
        talk = Talk(hub, await acting(hub, asked.organization, asked.user))
        try:
            if asked.agent is not None:
                talk.choose(asked.agent)
            if asked.conversation is not None:
                await talk.open(asked.conversation)
        except (DomainError, UnknownAgent) as refused:
            raise CommandFailed(str(refused)) from refused
        return await _conversed(asked, talk, hub)


async def _conversed(asked: Asked, talk: Talk, hub: Hub) -> bool:
    if asked.message is not None:
        return await Session(talk, _view(asked), nobody, for_machines=asked.as_json).converse(_once(asked.message))
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return await Session(talk, _view(asked), nobody, for_machines=asked.as_json).converse(piped_lines())
    from rich.console import Console

    from server.cli.chat.prompt import Prompt, history_in
    from server.cli.chat.rich_view import RichView

    prompt = Prompt(history_in(hub.settings.home))
    view = JsonLines() if asked.as_json else RichView(Console())
    session = Session(talk, view, prompt.ask)
    say(f"Prisma Glow, model {hub.model.name}. /help says what you can do here.")
    if asked.conversation is not None:
        await session.commands.run(f"/open {asked.conversation}")
    await session.converse(prompt.lines())
    return True


def _view(asked: Asked) -> View:
    return JsonLines() if asked.as_json else Plain()


async def _once(message: str) -> AsyncGenerator[str]:
    yield message

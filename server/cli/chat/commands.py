"""What a person at the terminal may say besides a message: the commands, each a few lines on the conversation."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from functools import partial
from typing import Literal, cast
from uuid import UUID

from agent.frames import citation_json
from agent.runs import RunHandle
from domain.feedback.model import Rating
from domain.kernel import DomainError
from server.cli.chat.talk import Talk
from server.cli.chat.views import citation_line
from server.cli.deciding import words_of_decision
from server.cli.laying_out import approval_lines, one_line, shown
from server.cli.printing import say, why_not
from tools.outcomes import CallOutcome, Json
from tools.ports import Unavailable

Asks = Callable[[str], Awaitable[str | None]]
"""A question to the person; None where nobody is there to answer, or would not."""

HELP = """\
/new              begin a new conversation
/history          your conversations; /open ID goes on with one
/search WORDS     those that say these words, and where
/agent NAME       have another agent answer from here on; /agent lists them
/again            have the last message answered again; /edit WORDS puts these in its place
/good, /bad WHY   say whether the last answer was good, and why; /unrate takes it back
/cite N           show the cited words of the last answer where they stand
/approvals        what waits for a person, and your answer to it
/tasks            the tasks
/help, /quit      this; leave
Enter sends, Esc then Enter begins a new line, Ctrl-C stops an answer, Ctrl-D leaves."""


class Quit(Exception):
    """The person leaves."""


class Commands:
    """The commands of one session."""

    def __init__(self, talk: Talk, asks: Asks) -> None:
        self._talk = talk
        self._asks = asks
        self._citations: dict[int, Json] = {}
        self._known: Mapping[str, Callable[[str], Awaitable[RunHandle | None]]] = {
            "help": self._help,
            "new": self._new,
            "history": self._history,
            "open": self._open,
            "search": self._search,
            "agent": self._agent,
            "again": self._again,
            "edit": self._edit,
            "good": partial(self._rate, "up"),
            "bad": partial(self._rate, "down"),
            "unrate": partial(self._rate, "none"),
            "cite": self._cite,
            "approvals": self._approvals,
            "tasks": self._tasks,
            "quit": self._quit,
            "exit": self._quit,
        }

    async def run(self, line: str) -> RunHandle | bool:
        """Run the command that the line is; a run where one was begun. False: it is none of these, but a message.

        Raises  Quit.
        """
        name, _, rest = line[1:].partition(" ")
        command = self._known.get(name) if line.startswith("/") else None
        if command is None:
            return False
        try:
            return await command(rest.strip()) or True
        except (DomainError, Unavailable) as refused:
            say(f"{refused}.")
        return True

    def cited(self, event: Json) -> None:
        """Remember what an answer cites, so that it can be opened."""
        self._remember(cast("list[Json]", event["citations"]))

    def _remember(self, citations: Iterable[Json]) -> None:
        for citation in citations:
            self._citations[cast(int, citation["marker"])] = citation

    async def ask_about(self, approval_ids: Set[str]) -> bool:
        """Lay out those of the approvals that still wait, and ask for each; False: something was left waiting."""
        left = [item for item in await self._talk.pending() if str(item["id"]) in approval_ids]
        return all([await self._answer(item) for item in left])

    async def _answer(self, item: Json) -> bool:
        """Whether it is decided by now."""
        for line in approval_lines(await self._talk.laid_out(UUID(str(item["id"]))) or item):
            say(line)
        if not self._talk.decides:
            say("  A service account decides nothing: a person must.")
            return False
        answer = (await self._asks("Approve? [y]es, [n]o, Enter leaves it waiting: ") or "").strip().lower()
        decision = {"y": "approve", "yes": "approve", "n": "reject", "no": "reject"}.get(answer)
        if decision is None:
            say("It waits: /approvals shows it again, and so does `glow approvals list`.")
            return False
        comment = await self._asks("A comment (Enter for none): ")
        if comment is None:
            say("It waits: /approvals shows it again, and so does `glow approvals list`.")
            return False
        ended = await self._talk.decide(UUID(str(item["id"])), decision, comment.strip() or None)
        for line in words_of_decision(ended):
            say(line)
        return ended.outcome == "done"

    async def _help(self, _: str) -> None:
        say(HELP)

    async def _new(self, _: str) -> None:
        self._talk.leave()
        self._citations.clear()
        say("A new conversation.")

    async def _history(self, _: str) -> None:
        past = await self._talk.past()
        if not past:
            say("There are no conversations yet.")
        for each in past:
            here = "*" if each.conversation_id == self._talk.conversation_id else " "
            say(
                f"{here} {each.conversation_id}  {each.updated_at:%Y-%m-%d %H:%M}  {each.agent}  {one_line(each.title)}"
            )

    async def _search(self, words: str) -> None:
        found = await self._talk.found(words)
        if not found:
            say("Nothing was found.")
        for each in found:
            talk = each.conversation
            say(f"  {talk.conversation_id}  {talk.updated_at:%Y-%m-%d %H:%M}  {one_line(talk.title)}")
            for match in each.matches:
                say(f"      {'you' if match.role == 'user' else 'answer'}: {one_line(match.snippet)}")

    async def _open(self, named: str) -> None:
        opened = await self._talk.open(named)
        found = opened.conversation
        self._citations.clear()
        say(f"{one_line(found.title)} (with {found.agent})")
        if opened.left_out:
            say(f"  ({opened.left_out} earlier messages are not shown.)")
        for each in opened.last:
            self._remember(citation_json(citation) for citation in each.citations)
            for call in each.tool_calls:
                say(f"  {one_line(call.tool)} {call.outcome}")
            if each.text:
                say(f"{'you' if each.role == 'user' else found.agent}: {shown(each.text)}")

    async def _agent(self, name: str) -> None:
        if name:
            say(f"{self._talk.choose(name)} answers from here on.")
            return
        for persona in self._talk.hub.orchestrator.personas():
            say(f"  {persona.name:12} {persona.description}")

    async def _again(self, _: str) -> RunHandle:
        return await self._talk.again()

    async def _edit(self, words: str) -> RunHandle:
        return await self._talk.edit(words)

    async def _rate(self, rating: Rating | Literal["none"], why: str) -> None:
        given = await self._talk.rate(rating, why)
        if given.result is None:
            say(why_not(given))
        else:
            say("Taken back." if rating == "none" else "Thank you. Your firm's managers read it.")

    async def _cite(self, number: str) -> None:
        citation = self._citations.get(int(number)) if number.isdecimal() and len(number) < 7 else None
        if citation is None:
            say("No answer here cites that number.")
            return
        say(citation_line(citation))
        read = await self._talk.passage(citation)
        if read.result is None:
            say(why_not(read))
            return
        text, start = str(read.result["text"]), cast(int, read.result["start"])
        first, last = cast(int, citation["start"]) - start, cast(int, citation["end"]) - start
        say(shown(f"…{text[:first]}»{text[first:last]}«{text[last:]}…"))

    async def _approvals(self, _: str) -> None:
        pending = await self._talk.pending()
        if not pending:
            say("Nothing waits.")
        for item in pending:
            await self._answer(item)

    async def _tasks(self, _: str) -> None:
        ended = await self._talk.tasks()
        for line in _task_lines(ended):
            say(line)

    async def _quit(self, _: str) -> None:
        raise Quit


def _task_lines(ended: CallOutcome) -> list[str]:
    if ended.result is None:
        return [why_not(ended)]
    tasks = [cast(Json, each) for each in cast("list[object]", ended.result["items"])]
    lines = [f"  {task['status']:12} {one_line(task['title'])}  ({task['task_id']})" for task in tasks]
    return lines or ["There are no tasks."]

"""README.md as something to run: its commands in their order, and what it says they print."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

CUT = "…"
"""In what the README shows: something is left out here."""
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SHOWN = re.compile(
    rf"(?P<uuid>{_UUID})|(?P<cut_uuid>[0-9a-f]{{8}}-{CUT})|(?P<cut>{CUT})"
    r"|(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*(?:\+00:00| UTC|Z)?)|(?P<duration>(?<=\"duration_ms\":)[\d.]+)"
)
_BEGINS = ("TOKEN=", "curl ", "say ", "say() ", "$ ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command as a reader types it, and what the README shows of its output; None: it shows nothing."""

    line: str
    shows: str | None


@dataclass(slots=True)
class Ids:
    """What stands for the ids of the README in this run: its readers, too, put their own in."""

    known: dict[str, str] = field(default_factory=dict[str, str])

    def into(self, line: str) -> str:
        """The line with the ids of this run."""
        return re.sub(_UUID, lambda found: self.known.get(found[0], found[0]), line)

    def hold(self, shows: str, printed: str) -> bool:
        """Whether a command printed what the README shows; ids and times differ, and it may print more at the end."""
        parts: list[str] = []
        end = 0
        names: list[str] = []
        for found in _SHOWN.finditer(shows):
            parts.append(re.escape(shows[end : found.start()]))
            end = found.end()
            if found["uuid"] and found[0] in names:
                parts.append(f"(?P=id{names.index(found[0])})")
            elif found["uuid"]:
                parts.append(f"(?P<id{len(names)}>{_UUID})")
                names.append(found[0])
            else:
                parts.append(r"[\s\S]*?" if found["cut"] else r"[\w:. +-]+")
        held = re.match("".join([*parts, re.escape(shows[end:])]), printed)
        if held is None:
            return False
        self.known.update({name: held[f"id{place}"] for place, name in enumerate(names)})
        return True


def python_of(text: str) -> str:
    """The README's program."""
    (program,) = (code for language, code in _BLOCK.findall(text) if language == "python")
    return program


def demos_of(text: str) -> Iterator[dict[str, str]]:
    """The settings that each `NAME=... make demo` of the README begins the demo with."""
    for _, code in _BLOCK.findall(text):
        for line in code.splitlines():
            before, makes_demo, _ = line.partition("make demo")
            if makes_demo and before.strip():
                yield dict(each.split("=", 1) for each in before.split())


def commands_of(text: str) -> Iterator[Command]:
    """Every command of the README that is run beside a demo, in its order."""
    blocks = [code for language, code in _BLOCK.findall(text) if not language and "make demo" not in code]
    for place, block in enumerate(blocks):
        if block.startswith("$ "):
            yield from _prompted(block)
        elif block.startswith(_BEGINS):
            following = blocks[place + 1] if place + 1 < len(blocks) else "$ "
            yield from _typed(block, None if following.startswith(_BEGINS) else following)


def _prompted(block: str) -> Iterator[Command]:
    """A block of `$ command` lines, each with its output beneath."""
    earlier = ""
    for each in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        typed = re.match(r"(?:.*\\\n)*.*\n", each)
        assert typed is not None
        # "$ # the same command again" is typed as the one before.
        line = earlier if each.startswith("# ") else typed[0].strip()
        earlier = line
        yield Command(line=line, shows=each[typed.end() :].strip() or None)


def _typed(block: str, shows: str | None) -> Iterator[Command]:
    """A block of commands, the last of which prints what the next block shows."""
    *first, last = re.split(r"\n\n+", block.strip())
    yield from (Command(line=line, shows=None) for line in first)
    yield Command(line=last, shows=None if shows is None else shows.strip())

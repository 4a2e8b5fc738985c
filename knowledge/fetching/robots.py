"""robots.txt, read and asked as RFC 9309 has it; in time that grows with the file and not with what it holds.

Rules are matched by searching for their parts one behind the other. As regular expressions, which the libraries make of
them, a hostile file of wildcards would hold up the server for hours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from domain.backoff import seconds_of

MOST_BYTES: Final = 512 * 1024
"""What is read of one. Source  RFC 9309 2.5."""
MOST_RULES: Final = 10_000
_LINE = re.compile(r"^\s*([A-Za-z-]+)\s*:\s*(.*?)\s*$")
_TOKEN = re.compile(r"[A-Za-z_-]+")
_SAFE = "/%:?#[]@!$&'()*+,;=-._~"


@dataclass(frozen=True, slots=True)
class _Rule:
    allows: bool
    path: str


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules that hold for one robot."""

    rules: Sequence[_Rule] = ()
    delay_s: float | None = None
    """What it asks to wait between two requests: no part of the RFC, and kept to all the same."""

    def allows(self, target: str) -> bool:
        """Whether a path with its query may be fetched: the longest rule decides, an allowing one among equals."""
        path = _normal(target)
        if path == "/robots.txt":
            return True
        best = max((rule for rule in self.rules if _matches(rule.path, path)), key=_weight, default=None)
        return best is None or best.allows


def robots_of(content: bytes, agent: str) -> Robots:
    """The rules of all groups that name the agent; else of those for everybody."""
    text = content[:MOST_BYTES].decode("utf-8", "replace").removeprefix("\ufeff")
    own: list[_Rule] = []
    everybody: list[_Rule] = []
    delays: dict[str, float] = {}
    named = False
    agents: set[str] = set()
    in_rules = True
    for line in re.split(r"\r\n|\r|\n", text):
        found = _LINE.match(line.partition("#")[0])
        if found is None:
            continue
        key, value = found[1].lower(), found[2]
        if key == "user-agent":
            agents = agents if not in_rules else set()
            in_rules = False
            agents.add(_agent_token(value))
            named = named or agent.lower() in agents
        elif key in ("allow", "disallow"):
            in_rules = True
            rule = _Rule(key == "allow", _normal(value))
            if value and agent.lower() in agents and len(own) < MOST_RULES:
                own.append(rule)
            elif value and "*" in agents and len(everybody) < MOST_RULES:
                everybody.append(rule)
        elif key == "crawl-delay":
            in_rules = True
            delay_s = seconds_of(value)
            delays |= {} if delay_s is None else dict.fromkeys(agents, delay_s)
    return Robots(own if named else everybody, delays.get(agent.lower() if named else "*"))


def _agent_token(value: str) -> str:
    if value.startswith("*"):
        return "*"
    found = _TOKEN.match(value)
    return found[0].lower() if found else ""


def _normal(path: str) -> str:
    """Percent-encoded in one way, so that two spellings of a path are equal."""
    return quote(unquote(path.replace("%2F", "%252F").replace("%2f", "%252F"), errors="surrogateescape"), safe=_SAFE,
                 errors="surrogateescape")  # fmt: skip


def _weight(rule: _Rule) -> tuple[int, bool]:
    return len(rule.path), rule.allows


def _matches(rule: str, path: str) -> bool:
    """A rule is a beginning; `*` is anything, `$` at its end is the end."""
    whole = rule.endswith("$")
    first, *others = (rule[:-1] if whole else rule).split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    last = others.pop() if whole and others else None
    for part in others:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    if not whole:
        return True
    if last is None:
        return at == len(path)
    return len(path) - at >= len(last) and path.endswith(last)

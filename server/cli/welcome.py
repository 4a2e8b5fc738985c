"""What `glow demo` prints once it serves: what to open, what to type, and as whom."""

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from domain.kernel import PrincipalId
from domain.resources import resource_folder
from server.demo.firm import DemoOrganization, Person, load_firm
from server.home import default_home, source_root
from server.hub import Hub
from server.tokens import Audience

QUESTION = "When must the engagement letter be renewed, and who signs it?"
SHOWN: dict[str, Sequence[str]] = {
    "acme-audit": ("partner", "manager", "employee", "client"),
    "borealis-tax": ("employee", "manager"),
}
"""Whose links are printed, by organization; the others get theirs from `glow token`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A person of the demo with a token."""

    organization: DemoOrganization
    person: Person
    token: str

    @property
    def word(self) -> str:
        """The part of the address that says the role."""
        return self.person.email.partition("@")[0]


def welcome(hub: Hub, tokens_hold: timedelta) -> str:
    """The text; its tokens hold for as long as that."""
    signed = list(_signed(hub, "api", tokens_hold))
    partner = next(each for each in signed if each.word == "partner")
    mcp = next(each for each in _signed(hub, "mcp", tokens_hold) if each.word == "employee")
    parts = (
        f"\nPrisma Glow serves the demo firm at {hub.public_url}   (model: {hub.model.name})",
        _pages(hub, signed, tokens_hold),
        _curl(hub, partner),
        _mcp(hub, mcp),
        _approval(),
        _governance(hub),
        _rest(hub),
    )
    return "\n\n".join(parts)


def _signed(hub: Hub, audience: Audience, tokens_hold: timedelta) -> Iterator[Signed]:
    for organization in load_firm(resource_folder("demo")).organizations:
        for person in organization.users:
            if person.email.partition("@")[0] in SHOWN[organization.slug]:
                principal_id = PrincipalId(organization.id("user", person.email))
                token = hub.tokens.sign(principal_id, organization.slug, audience, tokens_hold)
                yield Signed(organization=organization, person=person, token=token)


def _pages(hub: Hub, signed: Sequence[Signed], tokens_hold: timedelta) -> str:
    lines = [f"Open one of these; each link signs you in as that person, for {tokens_hold.days} days:"]
    for slug in SHOWN:
        theirs = [each for each in signed if each.organization.slug == slug]
        lines.append(f"\n  {theirs[0].organization.name}")
        lines += [f"    {each.word:9} {hub.public_url}/#token={each.token}" for each in theirs]
    return "\n".join(lines)


def _curl(hub: Hub, asker: Signed) -> str:
    body = shlex.quote(json.dumps({"message": QUESTION}))
    return (
        f"Ask from a terminal, as {asker.person.email}:\n\n"
        f"  TOKEN={asker.token}\n"
        f'  curl -sN {hub.public_url}/v1/chat -H "Authorization: Bearer $TOKEN" \\\n'
        "    -H 'Content-Type: application/json' -H 'Accept: text/event-stream' \\\n"
        f"    -d {body}"
    )


def _mcp(hub: Hub, holder: Signed) -> str:
    server = {
        "type": "http",
        "url": f"{hub.public_url}/mcp",
        "headers": {"Authorization": f"Bearer {holder.token}"},
    }
    configuration = json.dumps({"mcpServers": {"prisma-glow": server}}, indent=2)
    indented = "\n".join(f"  {line}" for line in configuration.splitlines())
    return f"Connect an MCP client, which acts as an agent for {holder.person.email}:\n\n{indented}"


def _approval() -> str:
    return (
        "See an approval: employee@borealis.example has the ceiling L1, so that the agent asks before every change.\n"
        "Open the link of the Borealis employee and say: create a task to call the Tolvarren controller.\n"
        "The call waits; the employee or the manager decides it on the page, or at the terminal:\n\n"
        f"  {_glow()} tools call approval_decide --organization borealis-tax --user manager@borealis.example \\\n"
        '    --arguments \'{"approval_id": "...", "decision": "approve"}\''
    )


def _governance(hub: Hub) -> str:
    acme = "--organization acme-audit --user partner@acme.example"
    return (
        "See what binds the agent, and what it has earned (a partner decides that on the page, under Autonomy):\n\n"
        f"  {_glow()} budgets list {acme}\n"
        f"  {_glow()} policy list {acme}\n"
        f"  {_glow()} autonomy proposals {acme}\n\n"
        f"Heads of the sealed record are kept in {', '.join(_kept(hub))}"
    )


def _kept(hub: Hub) -> list[str]:
    return [place.way.address.removeprefix("file ") for place in hub.places()]


def _rest(hub: Hub) -> str:
    home = hub.settings.home.path
    return (
        f"More tokens:  {_glow()} token --organization acme-audit --user readonly@acme.example\n"
        f"The data is in {home}; without that folder the next start begins afresh. Ctrl-C stops."
    )


def _glow() -> str:
    """How this very program is called from here."""
    program = Path(sys.argv[0]).absolute()
    named = os.path.relpath(program) if program.is_relative_to(Path.cwd()) else str(program)
    home = os.environ.get("GLOW_HOME")
    elsewhere = home and Path(home) != default_home(source_root())
    prefix = f"GLOW_HOME={shlex.quote(home)} " if home and elsewhere else ""
    return prefix + shlex.quote(named)

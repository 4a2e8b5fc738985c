"""`glow approvals` and `glow chat --message` on a real database: what waits is listed, and decided once."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.doors.test_cli_commands import Glow, firm, glow, installation, last_call
from tests.support.database import Database

__all__ = ["firm", "glow", "installation"]

BOREALIS = ("--organization", "borealis-tax")
EMPLOYEE = (*BOREALIS, "--user", "employee@borealis.example")
MANAGER = (*BOREALIS, "--user", "manager@borealis.example")
ELSEWHERE = ("--organization", "acme-audit", "--user", "partner@acme.example")


def ask(glow: Glow, title: str) -> str:
    """The id of the approval that waits once the agent was asked for a task by somebody with the ceiling L1."""
    assert glow("chat", *EMPLOYEE, "--json", "--message", f"create a task to {title}") == 0
    events = [json.loads(line) for line in glow.out.splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    return next(event["approval_id"] for event in events if event["type"] == "approval.requested")


def listed(glow: Glow, *words: str) -> dict[str, Any]:
    assert glow("approvals", "list", *words, "--json") == 0
    return {item["id"]: item for item in glow.json["items"]}


def titles(glow: Glow) -> list[str]:
    assert glow("tools", "call", "task_list", *EMPLOYEE, "--arguments", '{"limit": 100}') == 0
    return [task["title"] for task in glow.json["items"]]


@pytest.mark.parametrize("decider", [EMPLOYEE, MANAGER], ids=["who asked", "somebody else"])
def test_a_call_is_listed_and_approved_by_a_command_once(glow: Glow, firm: Database, decider: Sequence[str]) -> None:
    title = f"call {decider[-1]}"
    approval_id = ask(glow, title)
    for who in (EMPLOYEE, MANAGER):
        item = listed(glow, *who)[approval_id]
        assert (item["state"], item["tool"], item["requested_by"]) == (
            "pending",
            "task_create",
            "employee@borealis.example",
        )
        assert "comment" not in item
    assert approval_id not in listed(glow, *ELSEWHERE)
    assert glow("approvals", "list", *decider) == 0
    assert "task_create" in glow.out
    assert glow("approvals", "approve", approval_id, *decider, "--comment", "go ahead") == 0
    assert glow.out.startswith("task_create: executed; the call is done.\n{")
    recorded = last_call(firm, "approval_decide")
    assert (recorded["door"], recorded["mode"], recorded["outcome"]) == ("cli", "person", "done")
    assert glow("approvals", "approve", approval_id, *decider) == 1
    assert (glow.out, glow.err) == (
        "",
        "glow: invalid: this approval is executed already; it can be decided only once\n",
    )
    assert approval_id not in listed(glow, *decider)
    decided = listed(glow, *decider, "--all")[approval_id]
    assert (decided["state"], decided["decided_by"], decided["comment"]) == ("executed", decider[-1], "go ahead")
    assert title.capitalize() in titles(glow)


def test_what_is_rejected_by_a_command_is_never_done_and_tells_why(glow: Glow) -> None:
    approval_id = ask(glow, "spend the reserve")
    assert glow("approvals", "reject", approval_id, *MANAGER, "--comment", "not this year", "--json") == 0
    assert glow.json["outcome"] == "done"
    assert glow.json["result"]["call"]["outcome"] == "rejected"
    assert glow("approvals", "approve", approval_id, *MANAGER, "--json") == 1
    assert glow.json["outcome"] == "invalid"
    rejected = listed(glow, *EMPLOYEE, "--state", "rejected")[approval_id]
    assert (rejected["comment"], rejected["decided_by"]) == ("not this year", "manager@borealis.example")
    assert "Spend the reserve" not in titles(glow)


def test_nobody_of_another_firm_decides_and_nobody_learns_that_it_waits(glow: Glow) -> None:
    approval_id = ask(glow, "stay at home")
    assert glow("approvals", "approve", approval_id, *ELSEWHERE) == 1
    unknown = glow.err
    assert glow("approvals", "approve", "00000000-0000-4000-8000-000000000000", *ELSEWHERE) == 1
    assert glow.err == unknown
    assert listed(glow, *EMPLOYEE)[approval_id]["state"] == "pending"


def test_a_firm_begins_to_sign_in_by_an_issuer_with_commands_alone(glow: Glow) -> None:
    admin, partner = (
        ("--organization", "acme-audit", "--user", f"{role}@acme.example") for role in ("admin", "partner")
    )

    def link(subject: str, user: str) -> dict[str, Any]:
        given = json.dumps({"issuer": "https://issuer.example", "subject": subject, "user": user})
        assert glow("tools", "call", "identity_link", *admin, "--arguments", given, "--json") == 0
        return glow.json

    assert link("the admin's", "admin@acme.example")["outcome"] == "done"
    assert link("the partner's", "partner@acme.example")["outcome"] == "waiting"
    (approval_id,) = listed(glow, *partner)
    assert glow("approvals", "approve", approval_id, *admin) == 1
    assert "four_eyes_needed" in glow.err
    assert glow("approvals", "approve", approval_id, *partner) == 0
    assert glow.out.startswith("identity_link: executed; the call is done.\n")


def test_where_nothing_waits_the_list_says_so(glow: Glow) -> None:
    assert glow("approvals", "list", "--organization", "acme-audit", "--user", "partner@acme.example") == 0
    assert glow.out == "Nothing waits.\n"
    assert listed(glow, *ELSEWHERE) == {}
    assert glow("approvals", "list", *ELSEWHERE, "--state", "rejected") == 0
    assert glow.out == "There are none.\n"


def test_one_message_is_answered_in_text_and_recorded_as_the_agents_at_this_door(glow: Glow, firm: Database) -> None:
    assert glow("chat", *EMPLOYEE, "--message", "what may you do on your own?") == 0
    assert "→ autonomy_query" in glow.out
    assert "The level in force is L1" in glow.out
    assert glow.err == ""
    recorded = last_call(firm, "autonomy_query")
    assert (recorded["door"], recorded["mode"], recorded["attended"]) == ("cli", "agent", True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((*EMPLOYEE, "--agent", "ghost"), "no such agent; there are: assistant"),
        ((*EMPLOYEE, "--conversation", "abc"), "no such conversation"),
        ((*BOREALIS, "--user", "employee@acme.example"), "there is no organization"),
    ],
)
def test_a_conversation_that_cannot_be_had_is_refused_with_1(glow: Glow, words: Sequence[str], why: str) -> None:
    assert glow("chat", *words, "--message", "x") == 1
    assert glow.out == ""
    assert why in glow.err

"""`glow budgets list|set|lift` on a real database: a PARTNER's own hand, what others are told, and odd amounts."""

from collections.abc import Sequence

import pytest

from server.database.connection import connected
from tests.doors.test_cli_commands import Glow, firm, glow, installation, last_call
from tests.support.database import Database, run_apart

__all__ = ["firm", "glow", "installation"]

FIRM = ("--organization", "acme-audit")
PARTNER = (*FIRM, "--user", "partner@acme.example")
EMPLOYEE = (*FIRM, "--user", "employee@acme.example")
STRANGER = ("--organization", "borealis-tax", "--user", "partner@borealis.example")
WHY = ("--reason", "A quiet week.")
CALLS = ("calls", "1", "--effect", "prepare")
OF_EMPLOYEE = ("--member", "employee@acme.example")


@pytest.fixture(autouse=True)
def unset(firm: Database) -> None:
    """No budget is set, whatever another test left."""

    async def forget() -> None:
        async with connected(firm.dsn("postgres")) as connection:
            await connection.execute("TRUNCATE budget_settings, budget_use, budget_reservations")

    run_apart(forget())


def listed(glow: Glow, who: Sequence[str]) -> list[tuple[object, ...]]:
    """The budgets in force as these see them."""
    assert glow("budgets", "list", *who, "--json") == 0
    names = ("scope", "measure", "limit", "used", "left")
    return [tuple(item[name] for name in names) for item in glow.json["items"]]


def test_a_budget_is_set_seen_used_up_and_lifted_by_commands(glow: Glow) -> None:
    assert glow("budgets", "list", *PARTNER) == 0
    assert glow.out == "No budget is set.\n"
    assert glow("budgets", "set", *CALLS, *OF_EMPLOYEE, *PARTNER, *WHY) == 0
    assert glow.out == "prepare calls of employee@acme.example, a day: 1.\n"
    assert glow("budgets", "set", "tokens", "50000", "--run", *PARTNER, *WHY) == 0
    assert glow.out == "tokens of each run, in all: 50,000.\n"
    assert glow("budgets", "set", "money", "2.50", *PARTNER, *WHY, "--json") == 0
    assert glow.json["result"]["setting"]["limit"] == 2.5

    create = ("tools", "call", "task_create", *EMPLOYEE, "--arguments", '{"title": "Count"}')
    assert glow(*create) == 0
    assert glow(*create) == 1
    assert "budget_exhausted" in glow.err
    assert "Your own budget of 1 prepare calls a day is used up: 0 left" in glow.err
    assert set(listed(glow, PARTNER)) == {
        ("organization", "money", 2.5, 0, 2.5),
        ("member", "calls", 1, 1, 0),
        ("run", "tokens", 50_000, 0, 50_000),
    }
    assert glow("budgets", "list", *PARTNER) == 0
    assert "employee@acme.example, a day" in " ".join(glow.out.split())

    assert glow("budgets", "lift", "calls", "--effect", "prepare", *OF_EMPLOYEE, *PARTNER, *WHY) == 0
    assert glow.out == "prepare calls of employee@acme.example, a day: no budget any more.\n"
    assert glow(*create) == 0
    for measure, more in (("tokens", ("--run",)), ("money", ())):
        assert glow("budgets", "lift", measure, *more, *PARTNER, *WHY) == 0
    assert listed(glow, PARTNER) == []


@pytest.mark.parametrize("who", ["manager", "employee", "readonly"])
def test_nobody_below_a_partner_sets_or_lifts_a_budget_and_the_try_is_recorded(
    glow: Glow, firm: Database, who: str
) -> None:
    hand = (*FIRM, "--user", f"{who}@acme.example")
    for asked in (("set", *CALLS), ("lift", "calls", "--effect", "prepare")):
        assert glow("budgets", *asked, *hand, *WHY) == 1
        assert glow.out == ""
        assert "denied" in glow.err
        assert last_call(firm, "budget_set")["outcome"] == "denied"
    assert glow("budgets", "set", *CALLS, *hand, *WHY, "--json") == 1
    assert glow.json["outcome"] == "denied"
    assert listed(glow, PARTNER) == []


def test_another_organization_neither_sees_nor_sets_what_is_not_its_own(glow: Glow) -> None:
    assert glow("budgets", "set", *CALLS, *PARTNER, *WHY) == 0
    assert listed(glow, STRANGER) == []
    assert glow("budgets", "set", "tokens", "1", *OF_EMPLOYEE, *STRANGER, *WHY) == 1
    assert "employee@acme.example" in glow.err
    assert glow("budgets", "set", "tokens", "1", *FIRM, "--user", "partner@borealis.example", *WHY) == 1
    assert "there is no organization 'acme-audit' with a member partner@borealis.example" in glow.err
    assert glow("budgets", "list", "--organization", "no-such-firm", "--user", "partner@acme.example") == 1
    assert "no-such-firm" in glow.err
    assert [each[:3] for each in listed(glow, PARTNER)] == [("organization", "calls", 1)]
    assert glow("budgets", "lift", "calls", "--effect", "prepare", *PARTNER, *WHY) == 0


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        (("tokens", "5", "--member", "nobody@acme.example"), 1, "nobody@acme.example"),
        (("tokens", "1.5"), 1, "whole number"),
        (("money", "0.0000001"), 1, "millionth"),
        (("calls", "5"), 1, "effect"),
        (("tokens", "5", "--effect", "read"), 1, "effect"),
        (("tokens", "1e12"), 1, "1000000000"),
        (("tokens", "nan"), 1, "limit"),
        (("money", "inf"), 1, "limit"),
        (("tokens", "many"), 2, "valid number"),
        (("hours", "5"), 2, "hours"),
        (("calls", "5", "--effect", "sometimes"), 2, "sometimes"),
        (("tokens", "5", "--run", *OF_EMPLOYEE), 2, "not of both"),
    ],
)
def test_what_makes_no_budget_is_refused_in_words_and_none_is_set(
    glow: Glow, asked: tuple[str, ...], code: int, told: str
) -> None:
    assert glow("budgets", "set", *asked, *PARTNER, *WHY) == code
    assert glow.out == ""
    assert told in " ".join(glow.err.split())
    assert listed(glow, PARTNER) == []


def test_less_than_nothing_and_no_reason_make_no_budget_either(glow: Glow) -> None:
    assert glow("budgets", "set", "tokens", *PARTNER, *WHY, "--", "-1") == 1
    assert "limit" in glow.err
    assert glow("budgets", "set", "tokens", "5", *PARTNER) == 2
    assert "--reason" in glow.err
    assert glow("budgets", "set", "tokens", "5", *PARTNER, "--reason", " ") == 1
    assert "reason" in glow.err
    assert listed(glow, PARTNER) == []


def test_what_is_not_set_can_be_lifted_which_says_that_there_is_none(glow: Glow) -> None:
    assert glow("budgets", "lift", "tokens", "--run", *PARTNER, *WHY) == 0
    assert glow.out == "tokens of each run, in all: no budget any more.\n"
    assert listed(glow, PARTNER) == []

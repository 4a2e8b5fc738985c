"""The tools that ship: manifest and handler agree to the last field, and the contract's table holds."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cache
from inspect import getsource
from typing import Any, cast

import pytest
from pydantic import BaseModel

from domain.kernel import DOORS
from domain.resources import resource_folder
from knowledge.model import StoredFile
from knowledge.prepare import PreparedDocument, prepare_document
from server.rules import fetched
from tests.support.policies import firm_policies
from tools.handlers import (
    HANDLERS,
    agent_handlers,
    document_handlers,
    page_handlers,
    policy_handlers,
    source_handlers,
)
from tools.handlers.analytics import AnalyticsReport
from tools.outcomes import Json
from tools.policy import Rulebook
from tools.registry import Invalid, Parsed, Registry, Tool
from tools.staging import Staging

CONTRACT: dict[str, tuple[str, str]] = {
    "knowledge_search": ("read", "READONLY"),
    "knowledge_read": ("read", "READONLY"),
    "task_create": ("prepare", "EMPLOYEE"),
    "task_list": ("read", "READONLY"),
    "task_get": ("read", "READONLY"),
    "task_run": ("prepare", "EMPLOYEE"),
    "task_run_get": ("read", "READONLY"),
    "task_run_cancel": ("prepare", "EMPLOYEE"),
    "task_update": ("prepare", "EMPLOYEE"),
    "release_check": ("read", "EMPLOYEE"),
    # A filing's; releasing_needs_partner asks more of all else.
    "release_submit": ("irreversible", "MANAGER"),
    "autonomy_query": ("read", "READONLY"),
    "analytics_report": ("read", "EMPLOYEE"),
    "call_get": ("read", "READONLY"),
    # Beside the contract's table: its route, /v1/schedules, is named there.
    "schedule_list": ("read", "READONLY"),
    # Whoever is bound by a budget may ask what is left of it.
    "budget_query": ("read", "READONLY"),
}
"""Source  contract.md, Tools."""
UNSEEN = {
    "approval_cancel",
    "approval_decide",
    "approval_expire",
    "approval_remind",
    "audit_export",
    "audit_head",
    "audit_prove",
    "autonomy_proposal_decide",
    "autonomy_review",
    "autonomy_set",
    "budget_set",
    "call_conclude",
    "call_settle",
    "delegation_give",
    "delegation_revoke",
    "document_analyse",
    "document_content",
    "document_delete",
    "document_extract",
    "document_from_url",
    "document_embed",
    "document_index",
    "document_link",
    "document_list",
    "document_purge",
    "document_restore",
    "document_trust_set",
    "document_upload",
    "evaluation_record",
    "feedback_give",
    "figure_list",
    "identity_link",
    "identity_unlink",
    "policy_add",
    "policy_remove",
    "policy_replay",
    "privacy_erase",
    "privacy_erase_step",
    "privacy_export",
    "privacy_export_own",
    "policy_try",
    "schedule_create",
    "schedule_delete",
    "schedule_update",
    "signoff_record",
    "slack_channel_set",
    "slack_connect",
    "source_add",
    "source_change",
    "source_list",
    "source_remove",
    "source_report",
    "source_sync",
    "task_remind",
}
AMONG_AGENTS = {"agent_handover", "preference_set", "preference_forget"}
"""Beside the contract's: offered where an agent of this hub speaks, and not to a client's own."""
ID = "7b1f6a52-6a0e-4c55-9f0e-0f7a1f6f2a11"
EXAMPLES: dict[str, Json] = {
    "policy_replay": {
        "policies": {"a.cedar": "// none", "schema.cedarschema": "// none"},
        "add": "// none",
        "remove": "no_slack",
        "from": "2026-01-01",
        "to": "2026-01-31T12:00:00Z",
        "limit": 5,
    },
    "policy_add": {"text": "// none", "reason": "R", "replace": True},
    "policy_remove": {"policy_id": "no_slack", "reason": "R"},
    "policy_try": {"text": "// none", "remove": "no_slack", "calls": 100, "limit": 5},
    "knowledge_search": {
        "query": "letter",
        "limit": 3,
        "mode": "lexical",
        "explain": True,
        "filters": {"document_id": ID, "engagement_id": ID, "media_type": "text/markdown", "title": "x"},
    },
    "knowledge_read": {"document_id": ID, "page": 1, "start": 0, "end": 5},
    "task_create": {
        "title": "T",
        "description": "D",
        "kind": "refresh_analytics",
        "engagement_id": ID,
        "assignee": "a@b.example",
        "due_on": "2026-12-31",
        "input": {"from": "2026-01-01"},
    },
    "task_update": {
        "task_id": ID,
        "title": "T",
        "description": "D",
        "status": "done",
        "assignee": None,
        "due_on": None,
        "engagement_id": ID,
        "expected_version": 1,
    },
    "task_run_cancel": {"task_run_id": ID, "reason": "R"},
    "release_check": {"control": "plan_freeze", "engagement_id": ID},
    "release_submit": {
        "control": "plan_freeze",
        "engagement_id": ID,
        "evidence": [{"subject": "plan", "version": "1", "note": "N"}],
    },
    "signoff_record": {
        "engagement_id": ID,
        "kind": "PLAN_REVIEW",
        "decision": "accept",
        "subject": "plan",
        "version": "1",
        "comment": "C",
    },
    "budget_query": {},
    "budget_set": {
        "scope": "member",
        "member": "a@b.example",
        "measure": "calls",
        "effect": "read",
        "limit": 10,
        "reason": "R",
    },
    "evaluation_record": {
        "kind": "retrieval",
        "set_name": "demo",
        "set_digest": "0" * 64,
        "conditions": {"k": 10, "mode": "hybrid"},
        "figures": {"ndcg@10": 0.5},
        "questions": {"q1": {"ndcg@10": 0.5}},
    },
    "feedback_give": {"run_id": ID, "rating": "down", "comment": "C"},
    "delegation_give": {
        "delegate": "a@b.example",
        "starts_at": "2026-12-01",
        "ends_at": "2026-12-31T12:00:00Z",
        "reason": "R",
    },
    "delegation_revoke": {"delegation_id": ID},
    "autonomy_set": {
        "scope": "member",
        "tool": "task_create",
        "member": "a@b.example",
        "level": None,
        "autopilot_disabled": True,
        "floor": "L0",
        "ceiling": "L1",
        "reason": "R",
    },
    "task_list": {
        "audience": "client",
        "unfinished": True,
        "status": "open",
        "engagement_id": ID,
        "assignee": "a@b.example",
        "created_by": "a@b.example",
        "kind": "refresh_analytics",
        "due_from": "2026-12-01",
        "due_to": "2026-12-31",
        "limit": 5,
        "cursor": "abc",
    },
    "schedule_create": {"task_id": ID, "cron": "0 7 * * *", "time_zone": "Europe/Malta", "input": {}},
    "schedule_update": {
        "schedule_id": ID,
        "cron": "0 7 * * *",
        "time_zone": "Europe/Malta",
        "input": {"from": "2026-01-01"},
        "paused": True,
    },
    "schedule_delete": {"schedule_id": ID},
    "schedule_list": {"task_id": ID, "limit": 5, "cursor": "abc"},
    "task_get": {"task_id": ID},
    "task_run": {"task_id": ID, "input": {}},
    "task_run_get": {"task_run_id": ID, "wait_s": 30},
    "autonomy_query": {
        "tool": "task_create",
        "arguments": {"title": "T"},
        "suppose": {
            "mode": "person",
            "door": "rest",
            "role": "MANAGER",
            "level": "L1",
            "attended": True,
            "approved": False,
        },
        "explain": True,
    },
    "analytics_report": {
        "report": "tool_use",
        "from": "2026-01-01",
        "to": "2026-02-01T00:00:00Z",
        "group_by": "day",
        "engagement_id": ID,
    },
    "call_get": {"call_id": ID},
    "audit_head": {"since": 5},
    "audit_prove": {"call_id": ID, "since": 7},
    "audit_export": {"payloads": True, "format": "ocsf", "since": 5},
    "approval_decide": {"approval_id": ID, "decision": "reject", "comment": "No."},
    "document_upload": {
        "title": "T",
        "content_sha256": "0" * 64,
        "size_bytes": 1,
        "file_name": "a.md",
        "media_type": "text/markdown",
        "uri": "https://example.org/a",
        "language": "de",
        "audience": "client",
        "engagement_id": ID,
        "trust": "client",
    },
    "autonomy_proposal_decide": {"proposal_id": ID, "decision": "accept", "comment": "C"},
    "autonomy_review": {"tool": "task_create"},
    "approval_cancel": {"run_id": ID},
    "approval_expire": {"approval_id": ID},
    "approval_remind": {"approval_id": ID},
    "document_list": {"engagement_id": ID, "status": "ready", "limit": 5, "cursor": "abc"},
    "document_extract": {"document_id": ID},
    "figure_list": {"document_id": ID, "engagement_id": ID, "words": "cash", "limit": 5},
    "task_remind": {"task_id": ID, "text": "Please send it."},
    "call_conclude": {"call_id": ID, "happened": True, "statement": "Letter 4711."},
    "call_settle": {"call_id": ID},
    "privacy_erase": {"person": "a@b.example"},
    "privacy_erase_step": {"erasure_id": ID},
    "privacy_export": {"person": "a@b.example"},
    "privacy_export_own": {},
    "document_content": {"document_id": ID, "by_link": ID},
    "document_link": {"document_id": ID},
    "document_from_url": {
        "url": "https://example.org/a",
        "title": "T",
        "audience": "client",
        "engagement_id": ID,
        "trust": "internal",
    },
    "source_add": {
        "kind": "folder",
        "name": "Papers",
        "settings": {"path": "/srv/papers"},
        "audience": "client",
        "engagement_id": ID,
        "trust": "client",
        "cron": "0 7 * * *",
        "time_zone": "Europe/Malta",
    },
    "source_change": {
        "source_id": ID,
        "name": "Papers",
        "settings": {"pages": 5},
        "cron": "0 7 * * *",
        "time_zone": "Europe/Malta",
    },
    "source_list": {"limit": 5, "cursor": "abc"},
    "source_remove": {"source_id": ID},
    "source_report": {"source_id": ID, "kind": "added", "limit": 5, "before": 9},
    "source_sync": {"source_id": ID},
    "document_index": {"document_id": ID},
    "document_analyse": {"document_id": ID},
    "document_embed": {"document_id": ID},
    "document_delete": {"document_id": ID},
    "document_restore": {"document_id": ID},
    "document_trust_set": {"document_id": ID, "trust": "client"},
    "document_purge": {"document_id": ID},
    "preference_set": {"words": "Call me Freja.", "preference_id": ID},
    "preference_forget": {"preference_id": ID},
    "agent_handover": {"agent": "tax", "reason": "asked for"},
    "identity_link": {"issuer": "https://id.example", "subject": "s", "user": "a@b.example"},
    "identity_unlink": {"issuer": "https://id.example", "subject": "s"},
    "slack_connect": {"team_id": "T0123456789"},
    "slack_channel_set": {"team_id": "T0123456789", "channel_id": "C0123456789", "agent": "tax", "engagement_id": ID},
}
"""Every argument of every tool, used."""


async def _prepared(stored: StoredFile) -> PreparedDocument:
    return prepare_document(stored.content, title=stored.title, media_type=stored.media_type)


@cache
def tools() -> dict[str, Tool]:
    registry = Registry.load(
        resource_folder("manifests"),
        HANDLERS,
        document_handlers(Staging(), _prepared),
        page_handlers(fetched),
        source_handlers({}),
        agent_handlers({}),
        policy_handlers(Rulebook(firm_policies())),
    )
    return {tool.manifest.name: tool for tool in registry.all()}


WRITTEN = {"title", "description", "text", "input", "note", "failure"}
"""Members of results that hold what somebody wrote."""
NOT_SOMEBODY_ELSES = {
    "policy_add",  # the text and the reason of whoever sets it, by hand
    "policy_remove",
    "release_submit",  # the note that the call itself carries, and a person approved
}


def members(schema: Json) -> Iterator[str]:
    for name, inner in cast("dict[str, Json]", schema.get("properties", {})).items():
        yield name
        yield from members(inner)
    if isinstance(schema.get("items"), dict):
        yield from members(cast(Json, schema["items"]))


def test_whoever_shows_what_somebody_wrote_says_whose_words_they_are() -> None:
    """Of a tool that says nothing the manifest's word holds: nobody's who is trusted, then."""
    says = re.compile(r"told\.add|shown_document\(")
    silent = {
        name
        for name, tool in tools().items()
        if WRITTEN & set(members(tool.manifest.result))
        and tool.manifest.trust != "external"
        and says.search(getsource(tool.handler.work)) is None
    }
    assert silent == NOT_SOMEBODY_ELSES


def properties(tool: Tool) -> dict[str, Json]:
    return cast("dict[str, Json]", tool.manifest.arguments["properties"])


def model_schema(tool: Tool) -> Json:
    return cast("type[BaseModel]", tool.handler.arguments).model_json_schema()


def test_the_tools_are_those_of_the_contract() -> None:
    assert tools().keys() == CONTRACT.keys() | UNSEEN | AMONG_AGENTS == EXAMPLES.keys()


@pytest.mark.parametrize("name", CONTRACT)
def test_effect_and_least_role_are_the_contracts(name: str) -> None:
    manifest = tools()[name].manifest
    assert (manifest.effect, str(manifest.least_role)) == CONTRACT[name]


@pytest.mark.parametrize("name", CONTRACT)
def test_what_models_see_is_offered_at_every_door(name: str) -> None:
    assert tools()[name].manifest.doors == set(DOORS)


def test_a_handover_is_offered_where_an_agent_of_this_hub_speaks() -> None:
    assert tools()["agent_handover"].manifest.doors == {"chat", "slack", "widget", "cli"}


@pytest.mark.parametrize("name", ["preference_set", "preference_forget"])
def test_what_is_remembered_of_a_person_is_between_them_and_this_hubs_agent(name: str) -> None:
    assert tools()[name].manifest.doors == {"chat", "slack", "widget", "cli", "rest"}


@pytest.mark.parametrize("name", sorted(UNSEEN))
def test_what_models_never_see_is_offered_at_no_door_of_theirs(name: str) -> None:
    assert not tools()[name].manifest.doors & {"chat", "mcp"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_with_every_argument_holds_to_schema_and_model(name: str) -> None:
    tool = tools()[name]
    assert EXAMPLES[name].keys() == properties(tool).keys()
    assert isinstance(tool.parse(EXAMPLES[name]), Parsed)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_handlers_model_has_the_manifests_arguments_and_demands_the_same(name: str) -> None:
    tool = tools()[name]
    schema = model_schema(tool)
    assert cast(Json, schema["properties"]).keys() == properties(tool).keys()
    assert set(cast("list[str]", schema.get("required", []))) == set(
        cast("list[str]", tool.manifest.arguments.get("required", []))
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_default_that_the_manifest_names_is_the_handlers(name: str) -> None:
    """The words are true: what an omitted argument is said to mean is what it means."""
    tool = tools()[name]
    required = {key: EXAMPLES[name][key] for key in cast("list[str]", tool.manifest.arguments.get("required", []))}
    parsed = tool.parse(required)
    assert isinstance(parsed, Parsed)
    held = parsed.model.model_dump(mode="json", by_alias=True)
    told = {key: schema["default"] for key, schema in properties(tool).items() if "default" in schema}
    assert {key: held[key] for key in told} == told


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-12-01", date(2026, 12, 1)),
        ("2026-12-01T00:00:00Z", datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12-01t00:00:00z", datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12-01T00:00:00+02:00", datetime(2026, 11, 30, 22, tzinfo=UTC)),
        ("2026-12-01T00:00:00", datetime(2026, 12, 1)),  # noqa: DTZ001  the service takes it for UTC
        ("2026-12-01T10:30:00.5-01:00", datetime(2026, 12, 1, 11, 30, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_a_reports_midnight_is_a_moment_and_only_a_plain_date_its_whole_day(written: str, meant: date) -> None:
    parsed = tools()["analytics_report"].parse({"report": "activity", "from": written, "to": written})
    assert isinstance(parsed, Parsed)
    held = cast(AnalyticsReport, parsed.model)
    assert (held.since, type(held.since)) == (held.until, type(held.until)) == (meant, type(meant))


@pytest.mark.parametrize("written", ["2026-02-30", "2026-12-01T25:00:00Z", "2026-12-01T"])
def test_a_reports_moment_that_there_is_not_is_invalid(written: str) -> None:
    parsed = tools()["analytics_report"].parse({"report": "activity", "from": written})
    assert isinstance(parsed, Invalid)
    assert "from" in parsed.faults[0].path


@pytest.mark.parametrize("name", EXAMPLES)
def test_choices_are_the_same_in_manifest_and_model(name: str) -> None:
    tool = tools()[name]
    for argument, schema in properties(tool).items():
        if "enum" in schema:
            model = cast("dict[str, Any]", model_schema(tool))["properties"][argument]
            kinds = [model, *model.get("anyOf", [])]
            held = next(kind.get("enum") or [kind["const"]] for kind in kinds if "enum" in kind or "const" in kind)
            assert held == schema["enum"], argument


@pytest.mark.parametrize(
    "arguments",
    [
        {"report": "tool_use", "from": "2026-13-01"},
        {"report": "tool_use", "from": "2026-02-30"},
        {"report": "tool_use", "from": "yesterday"},
        {"report": "tool_use", "to": 5},
    ],
)
def test_a_day_that_is_none_is_invalid_and_named(arguments: Json) -> None:
    refused = tools()["analytics_report"].parse(arguments)
    assert not isinstance(refused, Parsed)
    assert refused.faults[0].path in {"/from", "/to", "/from/date", "/from/datetime"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_words_for_the_model_are_whole_sentences_of_bearable_length(name: str) -> None:
    description = tools()[name].manifest.description
    assert description.endswith(".")
    assert 100 < len(description) < 1000

"""The work of `glow sources`: a list under row level security; changes and reports by the gate."""

from typing import cast
from uuid import UUID

import typer

from domain.kernel import CallId
from domain.paging import PAGE_LIMIT, page_request
from knowledge.sources.model import SourceId, SourceQuery
from knowledge.sources.service import SourceNotFound, said
from server.cli import following
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from server.http.strict_json import MalformedJson, decoded
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.views.sources import source_json

_DONE = {
    "source_add": "set up; it is read at its next sync",
    "source_change": "changed",
    "source_remove": "removed; its documents go",
}


def settings_of(text: str) -> Json:
    """What a person wrote, as an object."""
    try:
        given = decoded(text.encode())
    except (MalformedJson, UnicodeEncodeError) as error:
        raise typer.BadParameter(str(error).replace("the body", "it"), param_hint="--settings") from error
    if not isinstance(given, dict):
        raise typer.BadParameter("it is no JSON object", param_hint="--settings")
    return cast(Json, given)


def list_sources(organization: str, user: str | None, *, as_json: bool) -> None:
    """The newest sources that the person may see."""
    items = run(_listed(organization, user))
    if as_json:
        say_json({"items": items})
    elif not items:
        say("There are none.")
    else:
        say_table(("id", "name", "kind", "documents", "synced", "state"), [_row(item) for item in items])


async def _listed(organization: str, user: str | None) -> list[Json]:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        async with hub.transactions.session(principal.organization_id, principal.principal_id) as session:
            page = await session.work.sources.list(SourceQuery(page=page_request(limit=PAGE_LIMIT)))
    return [source_json(item) for item in page.items]


def change(tool: str, arguments: Json, organization: str, user: str, *, as_json: bool) -> bool:
    """Make the call and say what became of the source; False when it was refused."""
    outcome = run(_called(tool, arguments, organization, user))
    if as_json:
        say_json(envelope(outcome))
    elif outcome.outcome != "done" or outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        source = cast(Json, outcome.result["source"])
        say(f"{source['source_id']} ({source['name']}): {_DONE[tool]}.")
    return outcome.outcome == "done"


def sync(source_id: UUID, organization: str, user: str | None, *, follow: bool, as_json: bool) -> bool:
    """Start the run of its task; False where there is none, or it was refused."""
    task_id = run(_task_of(source_id, organization, user))
    if task_id is None:
        complain(f"glow: source_id: no source {source_id}, or none that a task syncs")
        return False
    return following.start(task_id, "{}", organization, user, follow=follow, as_json=as_json)


async def _task_of(source_id: UUID, organization: str, user: str | None) -> UUID | None:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        async with hub.transactions.session(principal.organization_id, principal.principal_id) as session:
            try:
                return (await session.work.sources.get(SourceId(source_id))).task_id
            except SourceNotFound:
                return None


def report(source_id: UUID, kind: str | None, organization: str, user: str | None, *, as_json: bool) -> bool:
    """What changed; False when it was refused."""
    asked: Json = {"source_id": str(source_id), "limit": PAGE_LIMIT, **({} if kind is None else {"kind": kind})}
    outcome = run(_called("source_report", asked, organization, user))
    if as_json:
        say_json(envelope(outcome))
    elif outcome.outcome != "done" or outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        _tell(outcome.result)
    return outcome.outcome == "done"


def _tell(result: Json) -> None:
    source = cast(Json, result["source"])
    told = cast(Json, source["report"])
    say(f"{source['name']}: {said(cast('dict[str, int]', told['counts']))}.")
    if told["failing"]:
        say(f"{told['failing']} could not be read when they were tried last: see --kind failed.")
    if told["unknown_readers"]:
        say(f"{told['unknown_readers']} addresses may read something there and are nobody's of the firm.")
    for group in cast("list[str]", told["unexpanded"]):
        say(f"Of whom {group} is made is not known: it gives nobody.")
    for words in (*cast("list[str]", told["notes"]), *([str(source["failure"])] if "failure" in source else [])):
        say(words)
    items = cast("list[Json]", result["items"])
    if items:
        say_table(("when", "what", "path", "why"), [_line(item) for item in items])


async def _called(tool: str, arguments: Json, organization: str, user: str | None) -> CallOutcome:
    async with acting_hub() as hub:
        request = CallRequest(call_id=CallId(hub.new_id()), tool=tool, arguments=arguments)
        return await hub.gate.call(request, await acting(hub, organization, user))


def _row(item: Json) -> tuple[str, ...]:
    return (
        str(item["source_id"]),
        str(item["name"]),
        str(item["kind"]),
        str(item["documents"]),
        _minute(item["synced_at"]) if "synced_at" in item else "never",
        str(item.get("failure") or item["state"]),
    )


def _line(item: Json) -> tuple[str, ...]:
    was = f"{item['was']} -> " if "was" in item else ""
    return _minute(item["at"]), str(item["kind"]), f"{was}{item['path']}", str(item.get("why", ""))


def _minute(moment: object) -> str:
    return str(moment)[:16].replace("T", " ")

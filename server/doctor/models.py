"""Whether the servers of models answer, and have the models that are wanted."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from server.doctor.finding import Finding, wrong
from server.settings import OPENAI, ModelServer

if TYPE_CHECKING:
    import httpx2

MODEL_TIMEOUT_S = 10.0


async def model_finding(hosted: ModelServer | None, wanted: Collection[str]) -> Finding:
    """Whether the server answers, takes the key, and has the model and those that agents want."""
    if hosted is None:
        says = "offline: set OPENAI_API_KEY (or OPENAI_BASE_URL) and GLOW_MODEL for a hosted one"
        return Finding(part="model", state="note", says=says)
    import httpx2

    base = hosted.base_url or OPENAI
    key = hosted.api_key.get_secret_value() if hosted.api_key else None
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        async with httpx2.AsyncClient(timeout=MODEL_TIMEOUT_S) as client:
            answer = await client.get(f"{base}/models", headers=headers)
            lacking = hosted.api == "responses" and await _has_no_responses(client, base, headers)
    except (httpx2.HTTPError, OSError) as error:
        mend = "mend OPENAI_BASE_URL, or let this machine reach it"
        return wrong("model", f"{base} cannot be reached: {error or type(error).__name__}", mend)
    names = _names(answer.json) if answer.status_code == 200 else set[str]()
    found = _answered(hosted, base, answer.status_code, names)
    if lacking and found.state == "ok":
        return wrong("model", f"{base} has no Responses API", "set GLOW_MODEL_API=chat_completions")
    if found.state == "ok" and names and (missing := sorted(set(wanted) - names)):
        mend = "mend `model` in the manifests of the agents that want it (manifests/agents)"
        return wrong("model", f"{base} has no model {', '.join(missing)}, which agents want", mend)
    return found


async def fallback_finding(server: ModelServer) -> Finding:
    """Whether a model that is to answer in the other's place could."""
    found = await model_finding(server, ())
    mend = None if found.mend is None else "mend GLOW_FALLBACK_MODELS, or the key for it (GLOW_FALLBACK_API_KEY)"
    return replace(found, part=f"fallback {server.name}", mend=mend)


async def _has_no_responses(client: "httpx2.AsyncClient", base: str, headers: dict[str, str]) -> bool:
    """Whether that API is missing there; an empty request is refused, and costs nothing, where it is not."""
    return (await client.post(f"{base}/responses", headers=headers, json={})).status_code in {404, 405, 501}


def _answered(hosted: ModelServer, base: str, status: int, names: Collection[str]) -> Finding:
    if status in {401, 403}:
        return wrong("model", f"{base} refuses the key (status {status})", "mend OPENAI_API_KEY")
    if status >= 500:
        return wrong("model", f"{base} answers with status {status}", "try again later")
    if names and hosted.name not in names:
        return wrong("model", f"{base} has no model {hosted.name}", "mend GLOW_MODEL")
    return Finding(part="model", state="ok", says=f"{hosted.name} at {base} ({hosted.api})")


def _names(body: Callable[[], object]) -> set[str]:
    """The models that a server lists; empty where it lists none, as some compatible ones do."""
    try:
        listed = cast("dict[str, list[dict[str, str]]]", body())
        return {each["id"] for each in listed["data"]}
    except (ValueError, KeyError, TypeError):
        return set()

"""Takes a file in within one process, from its bytes to a document that can be found: call by call through the gate."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID

from domain.kernel import CallId, Principal
from knowledge.model import DocumentId
from server.hub import Hub
from server.worker.documents import DocumentWorker
from tools.outcomes import CallOutcome, CallRequest
from tools.work import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeFile:
    """Bytes, and what is said of them."""

    content: bytes
    title: str
    file_name: str
    said: Mapping[str, str]
    """More of document_upload's arguments: uri, audience, trust, engagement_id, language."""


def _untold(share: float, words: str) -> None:
    """Nobody listens."""


class Unqueued:
    """Keeps an upload's job out of the queue, since whoever uploads indexes at once.

    Were it killed in between, the worker's sweep would find the document by its row.
    """

    def __init__(self) -> None:
        self._held: list[Job] = []

    async def enqueue(self, jobs: Sequence[Job]) -> None:
        """Holds them until they are taken."""
        self._held.extend(jobs)

    def take(self, but: DocumentId) -> list[DocumentId]:
        """Documents to be indexed besides one, each once: those that came inside of it."""
        held = [DocumentId(job.subject_id) for job in self._held if job.kind == "document_index"]
        self._held.clear()
        return [document_id for document_id in held if document_id != but]


class Intake:
    """Uploads as whoever asks, and indexes as the organization's service account, as the worker does."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._queue = Unqueued()
        self._uploads = hub.gate_with(queue=self._queue, clock=hub.clock)
        self._documents = DocumentWorker(gate=self._uploads, identities=hub.identities, new_id=hub.new_id)

    async def upload(self, principal: Principal, file: IntakeFile) -> CallOutcome:
        """The upload's outcome; a document that is done waits to be indexed."""
        async with self._hub.staging.holding(principal, file.content) as digest:
            arguments: dict[str, object] = {
                "title": file.title,
                "file_name": file.file_name,
                "content_sha256": digest,
                "size_bytes": len(file.content),
                **file.said,
            }
            request = CallRequest(call_id=CallId(self._hub.new_id()), tool="document_upload", arguments=arguments)
            return await self._uploads.call(request, principal)

    async def index(
        self, principal: Principal, document_id: DocumentId, told: Callable[[float, str], None] = _untold
    ) -> CallOutcome | None:
        """The last step's outcome, whose document is ready or failed; None: no service account to do it as.

        `told`: hears after each step how far the document has come, from 0 to 1, and the same in words.
        A step that does not succeed is left to the worker, which finds the document by its row.
        """
        job = Job(kind="document_index", organization_id=principal.organization_id, subject_id=document_id)
        outcome = await self._documents.step(job)
        while outcome is not None and (document := document_of(outcome)).get("status") == "embedding":
            told(cast(float, document["progress"]), cast(str, document["message"]))
            embedded = await self._documents.step(replace(job, kind="document_embed"))
            if embedded is None or embedded.outcome != "done":
                break
            outcome = embedded
        return outcome

    async def index_parts(
        self, principal: Principal, document_id: DocumentId
    ) -> AsyncGenerator[tuple[DocumentId, CallOutcome | None]]:
        """What `index` gives of each document that came inside of one that it has just read."""
        for part_id in self._queue.take(document_id):
            yield part_id, await self.index(principal, part_id)


def document_of(outcome: CallOutcome) -> dict[str, object]:
    """The document that a call gives, as its result shows it; empty where it gives none."""
    return cast("dict[str, object]", (outcome.result or {}).get("document", {}))


def document_id_of(outcome: CallOutcome) -> DocumentId:
    """The document that an upload made."""
    return DocumentId(UUID(cast(str, document_of(outcome)["document_id"])))

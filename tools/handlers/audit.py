"""The ledger asked: its newest head, what proves a call, and what an export hands out, whose rows the door sends."""

from typing import Literal
from uuid import UUID

import orjson

from domain.kernel import CallId
from domain.ledger.model import Head, ProvedEvent
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.work import CallContext, Handler


class AuditHead(Arguments):
    since: int | None = None


class AuditProve(Arguments):
    call_id: UUID
    since: int | None = None


class AuditExport(Arguments):
    payloads: bool = False
    format: Literal["ledger", "ocsf"] = "ledger"
    since: int | None = None


async def audit_head(arguments: AuditHead, context: CallContext) -> Json:
    """The newest head, and what proves that an older one was of its beginning.

    Raises  LargerThanSealed, LedgerDamaged.
    """
    head = await context.work.ledger.head()
    key, rotations = await context.work.ledger.signer_of(head)
    shown: Json = {
        "organization_id": str(context.principal.organization_id),
        "head": _head(head),
        "key": None if key is None else key.members(),
        "rotations": [each.members() for each in rotations],
    }
    if arguments.since is not None:
        shown |= await _since(arguments.since, head, context)
    return shown


async def audit_prove(arguments: AuditProve, context: CallContext) -> Json:
    """What proves the call's events, and that an older head was of the beginning of the one that they are under.

    Raises  CallNotFound, LargerThanSealed, LedgerDamaged.
    """
    proof = await context.work.ledger.proof(CallId(arguments.call_id))
    shown: Json = {
        "type": "proof",
        "version": 1,
        "call_id": str(arguments.call_id),
        "head": _head(proof.head),
        "key": None if proof.key is None else proof.key.members(),
        "rotations": [each.members() for each in proof.rotations],
        "events": [_proved(each) for each in proof.events],
        "unsealed": proof.unsealed,
    }
    if arguments.since is not None:
        shown |= await _since(arguments.since, proof.head, context)
    return shown


async def audit_export(arguments: AuditExport, context: CallContext) -> Json:
    """What is handed out: every row under this head, which says exactly what they are.

    Raises  NotInThisFormat, LargerThanSealed.
    """
    head = await context.work.ledger.head_to_export(
        for_siem=arguments.format == "ocsf", payloads=arguments.payloads, since=arguments.since
    )
    return {
        "organization_id": str(context.principal.organization_id),
        "size": 0 if head is None else head.statement.size,
        "head": _head(head),
        "payloads": arguments.payloads,
        "format": arguments.format,
        "since": arguments.since or 0,
    }


async def _since(since: int, head: Head | None, context: CallContext) -> Json:
    path = await context.work.ledger.consistency(since, 0 if head is None else head.statement.size)
    return {"since": since, "consistency": [each.hex() for each in path]}


def _head(head: Head | None) -> Json | None:
    return None if head is None else head.members()


def _proved(event: ProvedEvent) -> Json:
    return {
        "index": event.index,
        "leaf": event.leaf.hex(),
        "path": [each.hex() for each in event.path],
        "event": orjson.loads(event.text),
    }


AUDIT_HEAD = Handler(arguments=AuditHead, work=audit_head)
AUDIT_PROVE = Handler(arguments=AuditProve, work=audit_prove)
AUDIT_EXPORT = Handler(arguments=AuditExport, work=audit_export)

"""Sign-offs recorded, release controls checked, and releases recorded with what they rest on."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from domain.kernel import EngagementId
from domain.releases.model import (
    ControlName,
    Evidence,
    NewSignOff,
    ReleaseId,
    SignOffDecision,
    SignOffId,
)
from domain.taint import Taint
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.views.releases import release_json, release_state_json, sign_off_json
from tools.work import CallContext, Handler


class ReleaseCheck(Arguments):
    control: ControlName
    engagement_id: UUID


class EvidenceGiven(BaseModel):
    """One thing that leaves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: str
    version: str
    note: str = ""


class ReleaseSubmit(Arguments):
    control: ControlName
    engagement_id: UUID
    evidence: tuple[EvidenceGiven, ...]


class SignoffRecord(Arguments):
    engagement_id: UUID
    kind: str
    decision: SignOffDecision
    subject: str
    version: str
    comment: str = ""


async def release_check(arguments: ReleaseCheck, context: CallContext) -> Json:
    state, releases = await context.work.releases.check(arguments.control, EngagementId(arguments.engagement_id))
    context.told.add(Taint(firm=True))
    return {**release_state_json(state), "releases": [release_json(release) for release in releases]}


async def release_submit(arguments: ReleaseSubmit, context: CallContext) -> Json:
    """Effect  writes releases.

    Raises  ControlNotSatisfied, EvidenceDiffers.
    """
    release = await context.work.releases.submit(
        arguments.control,
        EngagementId(arguments.engagement_id),
        [Evidence(subject=each.subject, version=each.version, note=each.note) for each in arguments.evidence],
        release_id=ReleaseId(context.new_id()),
        call_id=context.call_id,
        released_by=context.principal.principal_id,
        now=context.now,
    )
    return {"release": release_json(release)}


async def signoff_record(arguments: SignoffRecord, context: CallContext) -> Json:
    """Effect  writes sign_offs.

    Raises  UnknownKind, StaleVersion.
    """
    sign_off = await context.work.releases.sign(
        NewSignOff(
            sign_off_id=SignOffId(context.new_id()),
            engagement_id=EngagementId(arguments.engagement_id),
            kind=arguments.kind,
            decision=arguments.decision,
            subject=arguments.subject,
            version=arguments.version,
            comment=arguments.comment,
            signed_by=context.principal.principal_id,
            signed_role=context.role,
            signed_at=context.now,
        )
    )
    return {"sign_off": sign_off_json(sign_off)}


RELEASE_CHECK = Handler(arguments=ReleaseCheck, work=release_check)
RELEASE_SUBMIT = Handler(arguments=ReleaseSubmit, work=release_submit)
SIGNOFF_RECORD = Handler(arguments=SignoffRecord, work=signoff_record)

"""Records sign-offs, says what a release control still needs, and records a release once nothing is missing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from domain.kernel import CallId, DomainError, EngagementId, PrincipalId
from domain.releases.model import (
    ControlName,
    Evidence,
    NewRelease,
    NewSignOff,
    Release,
    ReleaseControl,
    ReleaseId,
    ReleaseState,
    SignOff,
)
from domain.releases.ports import ReleaseRepository


class UnknownKind(DomainError):
    """No release control of the organization needs such a sign-off."""

    code: ClassVar[str] = "unknown_kind"

    def __init__(self, kind: str, kinds: Collection[str]) -> None:
        super().__init__(f"kind: no release control here needs {kind}; there are: {', '.join(sorted(kinds)) or 'none'}")


class StaleVersion(DomainError):
    """The document that is signed has another version by now, or was deleted."""

    code: ClassVar[str] = "stale_version"

    def __init__(self, version: str) -> None:
        super().__init__(
            f"version: the document is at version {version}" if version else "subject: the document was deleted"
        )


class ControlNotSatisfied(DomainError):
    """Somebody rejected, or signed a newer version, after policy looked."""

    code: ClassVar[str] = "control_not_satisfied"

    def __init__(self, state: ReleaseState) -> None:
        super().__init__(f"control: {state.control} is {state.state}; missing: {', '.join(state.missing)}")


class EvidenceDiffers(DomainError):
    """What shall leave is not what was signed off."""

    code: ClassVar[str] = "evidence_differs"

    def __init__(self, subject: str, signed: str, given: str | None) -> None:
        named = "the evidence does not name it" if given is None else f"the evidence names version {given}"
        super().__init__(f"evidence: {subject} was signed off in version {signed}; {named}")


class EvidenceUnsigned(DomainError):
    """Something shall leave that nobody signed for this control."""

    code: ClassVar[str] = "evidence_unsigned"

    def __init__(self, subject: str, signed: Collection[str]) -> None:
        super().__init__(f"evidence: nobody signed {subject}; signed off are: {', '.join(sorted(signed))}")


@dataclass(frozen=True, slots=True)
class ReleaseService:
    """Who may sign and release is policy's to say, before this is called."""

    releases: ReleaseRepository

    async def control(self, name: ControlName) -> ReleaseControl:
        """A control as the organization has set it."""
        return await self.releases.control(name)

    async def check(self, control: ControlName, engagement_id: EngagementId) -> tuple[ReleaseState, Sequence[Release]]:
        """The control's state with what is missing, and what was released through it before."""
        state = await self.releases.state(control, engagement_id)
        return state, await self.releases.releases(control, engagement_id)

    async def sign(self, sign_off: NewSignOff) -> SignOff:
        """A person's word on one version of one thing; it takes away what was said of an older one.

        Effect  writes sign_offs.
        Raises  UnknownKind, StaleVersion.
        """
        held = replace(sign_off, subject=plain(sign_off.subject), version=plain(sign_off.version))
        kinds = await self.releases.kinds()
        if held.kind not in kinds:
            raise UnknownKind(held.kind, kinds)
        await self.releases.lock(held.engagement_id)
        version = await self.releases.document_version(held.subject)
        if version is not None and version != held.version:
            raise StaleVersion(version)
        await self.releases.add_sign_off(held)
        return await self.releases.sign_off(held.sign_off_id)

    async def submit(
        self,
        control: ControlName,
        engagement_id: EngagementId,
        evidence: Sequence[Evidence],
        *,
        release_id: ReleaseId,
        call_id: CallId,
        released_by: PrincipalId,
        now: datetime,
    ) -> Release:
        """A release, recorded with its evidence and the sign-offs that it rests on; nothing is sent.

        Effect  writes releases.
        Raises  ControlNotSatisfied, EvidenceDiffers, EvidenceUnsigned.
        """
        # Policy has looked already; from here on nobody can take a sign-off away before this is committed.
        await self.releases.lock(engagement_id)
        state = await self.releases.state(control, engagement_id)
        if state.state not in ("satisfied", "not_applicable"):
            raise ControlNotSatisfied(state)
        held = tuple(replace(each, subject=plain(each.subject), version=plain(each.version)) for each in evidence)
        _require_what_was_signed(state, held)
        await self.releases.add_release(
            NewRelease(
                release_id=release_id,
                state=state,
                evidence=held,
                call_id=call_id,
                released_by=released_by,
                released_at=now,
            )
        )
        return await self.releases.release(release_id)


def plain(words: str) -> str:
    """A subject or version as it is compared: "The  Report " and "the report" are one thing."""
    return " ".join(words.split()).casefold()


def _require_what_was_signed(state: ReleaseState, evidence: Sequence[Evidence]) -> None:
    """Of a control that asks for nothing nothing was signed, and anything may leave.

    Raises  EvidenceDiffers: a subject that was signed off leaves in another version, or is not named.
            EvidenceUnsigned: what leaves is no such subject.
    """
    signed = {each.subject: each.version for each in state.sign_offs}
    for subject, version in signed.items():
        versions = [each.version for each in evidence if each.subject == subject]
        for given in versions or [None]:
            if given != version:
                raise EvidenceDiffers(subject, version, given)
    for each in evidence:
        if state.state != "not_applicable" and each.subject not in signed:
            raise EvidenceUnsigned(each.subject, signed)

"""Whose the search benchmark's documents are: one large organization and small ones beside it, and who sees which."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from benchmarks import stage
from domain.kernel import Level, Role, utc_now
from server.database.connection import Connection
from server.database.founding import Founding, FoundingEngagement, FoundingMember, found

CHUNKS_A_DOCUMENT: Final = 20
SMALL_SIZES: Final = (20, 20, 20, 20, 20, 20, 60, 60, 60, 200)
"""Chunks of ten small organizations; six, three and one of each size."""
CHUNKS_A_SMALL_ONE: Final = 100
"""Of the large organization: it has a small one beside it for each of them."""
SETS: Final = 15
"""Sets of readers in the large organization."""
BUSY, QUIET = 0, 1
"""Two of its engagements: with eight, and with one of a hundred documents for its client."""
ENGAGEMENTS: Final = 13
_NAMESPACE = UUID("0d3f1d52-3a47-4c1e-8f9f-5f1b8b1f0c12")


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A firm, and which of all chunks are its."""

    number: int
    """0: the large one."""
    chunks: range

    @property
    def organization_id(self) -> UUID:
        """The large one is the firm that every benchmark's home has."""
        return self._id("organization") if self.number else stage.organization_id()

    @property
    def partner_id(self) -> UUID:
        """Who took its documents in."""
        return self._id("partner") if self.number else stage.person_id(0)

    def engagement_id(self, engagement: int) -> UUID:
        """One of its engagements; a small organization has one alone."""
        return self._id(f"engagement {0 if self.number else engagement}")

    def readers(self, one: int) -> str:
        """One of its sets of readers, as an audience; a small organization has one alone."""
        return f"readers:{SETS + self.number if self.number else 1 + one}"

    def _id(self, name: str) -> UUID:
        return uuid5(_NAMESPACE, f"{self.number} {name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What its chunks have in common."""

    document_id: UUID
    organization: Organization
    chunks: range
    audience: str
    engagement_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody who searches."""

    organization: Organization
    user_id: UUID
    role: Role
    engagements: tuple[UUID, ...] = ()
    sets: tuple[str, ...] = ()

    @property
    def email(self) -> str:
        """By whose digest the member is in sets of readers."""
        return f"{self.user_id}@benchmark.example"

    @property
    def audiences(self) -> list[str]:
        """What the member may see at all."""
        return ["client"] if self.role is Role.CLIENT else ["firm", "client", *self.sets]

    def sees(self, document: Document) -> bool:
        """The rule of ADR-0005 and ADR-0072 once more, without the database."""
        return (
            document.organization == self.organization
            and document.audience in self.audiences
            and (self.role is not Role.CLIENT or document.engagement_id in self.engagements)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeMembers:
    """Four who search in the large organization."""

    partner: Member
    """In no set of readers."""
    reader: Member
    """An employee, in three of the fifteen sets."""
    busy_client: Member
    quiet_client: Member

    def __iter__(self) -> Iterator[Member]:
        return iter((self.partner, self.reader, self.busy_client, self.quiet_client))


def organizations(chunks: int) -> list[Organization]:
    """The large one, with so many chunks, and the small ones."""
    firms = [Organization(number=0, chunks=range(chunks))]
    for number in range(chunks // CHUNKS_A_SMALL_ONE):
        first = firms[-1].chunks.stop
        size = SMALL_SIZES[number % len(SMALL_SIZES)]
        firms.append(Organization(number=1 + number, chunks=range(first, first + size)))
    return firms


def documents(organization: Organization) -> list[Document]:
    """Of a hundred documents 55 are the firm's own, ten its own of an engagement, 20 for a client, 15 for a set."""
    chunks = organization.chunks
    listed: list[Document] = []
    for number, first in enumerate(range(chunks.start, chunks.stop, CHUNKS_A_DOCUMENT)):
        audience, engagement = _AUDIENCES[number * 37 % len(_AUDIENCES)]
        listed.append(
            Document(
                document_id=uuid5(organization.organization_id, f"document {number}"),
                organization=organization,
                chunks=range(first, min(first + CHUNKS_A_DOCUMENT, chunks.stop)),
                audience=audience if isinstance(audience, str) else organization.readers(audience),
                engagement_id=None if engagement is None else organization.engagement_id(engagement),
            )
        )
    return listed


_AUDIENCES: Final[Sequence[tuple[str | int, int | None]]] = (
    *[("firm", None)] * 55,
    *[("firm", engagement) for engagement in range(10)],
    *[("client", BUSY)] * 8,
    *[("client", engagement) for engagement in range(QUIET, ENGAGEMENTS)],
    *[(one, None) for one in range(SETS)],
)


def partner(organization: Organization) -> Member:
    """Sees what is the firm's and what is a client's, and nothing of a set of readers."""
    return Member(organization=organization, user_id=organization.partner_id, role=Role.PARTNER)


def large_members(large: Organization) -> LargeMembers:
    """Who searches there."""

    def client(engagement: int) -> Member:
        return Member(
            organization=large,
            user_id=uuid5(_NAMESPACE, f"client of {engagement}"),
            role=Role.CLIENT,
            engagements=(large.engagement_id(engagement),),
        )

    return LargeMembers(
        partner=partner(large),
        reader=Member(
            organization=large,
            user_id=uuid5(_NAMESPACE, "reader"),
            role=Role.EMPLOYEE,
            sets=tuple(large.readers(one) for one in (2, 7, 11)),
        ),
        busy_client=client(BUSY),
        quiet_client=client(QUIET),
    )


_ADD_SET = """
INSERT INTO knowledge_reader_sets (organization_id, reader_set, digest) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3)
"""
_ADD_READERS = """
INSERT INTO knowledge_readers (organization_id, reader_set, email_sha256) SELECT $1, $2, unnest($3::bytea[])
"""


async def found_all(
    owner: Connection, superuser: Connection, firms: Sequence[Organization], members: LargeMembers
) -> None:
    """The organizations with their people, engagements and sets of readers; sets past the ticket that they need."""
    now = utc_now()
    for firm in firms:
        people = [partner(firm)] if firm.number else list(members)
        await found(owner, _founding(firm, people), now)
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        for firm in firms:
            for one in range(1 if firm.number else SETS):
                # Most of a set's addresses are nobody's of the firm.
                readers = {f"reader-{place}@{one}.example" for place in range(4)}
                readers |= {member.email for member in members if firm.readers(one) in member.sets and not firm.number}
                await _add_set(superuser, firm, one, readers)


async def _add_set(superuser: Connection, firm: Organization, one: int, readers: set[str]) -> None:
    digests = sorted(hashlib.sha256(address.encode()).digest() for address in readers)
    number = int(firm.readers(one).removeprefix("readers:"))
    await superuser.execute(_ADD_SET, firm.organization_id, number, hashlib.sha256(b"".join(digests)).digest())
    await superuser.execute(_ADD_READERS, firm.organization_id, number, digests)


def _founding(firm: Organization, people: Sequence[Member]) -> Founding:
    engagements = dict.fromkeys(firm.engagement_id(number) for number in range(ENGAGEMENTS))
    return Founding(
        organization_id=firm.organization_id,
        slug=f"small-{firm.number}" if firm.number else stage.SLUG,
        name=f"Small Firm {firm.number}" if firm.number else "Benchmark Firm",
        members=[
            FoundingMember(
                user_id=member.user_id,
                kind="person",
                email=member.email,
                display_name="Somebody who searches",
                role=member.role,
                floor=Level.L1,
                ceiling=Level.L2,
                engagements=member.engagements,
            )
            for member in people
        ],
        engagements=[
            FoundingEngagement(engagement_id=each, name="Engagement", client_name="Client", kind="audit")
            for each in engagements
        ],
        tasks=(),
    )

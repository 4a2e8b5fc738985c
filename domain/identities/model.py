"""An identity: what an issuer calls somebody, linked to a member of one organization."""

from dataclasses import dataclass
from typing import ClassVar

from domain.kernel import DomainError, NotFound, PrincipalId


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person or program as an issuer knows it: `iss` and `sub` of its tokens, to the letter."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The member of this organization that an identity stands for here."""

    principal_id: PrincipalId
    email: str


class NoSuchMember(NotFound):
    """Nobody in this organization has that address."""

    def __init__(self, email: str) -> None:
        super().__init__(f"user: nobody here has the address {email}")
        self.email = email


class IdentityNotLinked(NotFound):
    """The identity stands for nobody in this organization."""

    def __init__(self) -> None:
        super().__init__("this identity is not linked here")


class IdentityTaken(DomainError):
    """The identity stands for another member already; it is never moved silently."""

    code: ClassVar[str] = "identity_taken"

    def __init__(self, email: str) -> None:
        super().__init__(f"this identity is linked to {email}: unlink it first")
        self.email = email

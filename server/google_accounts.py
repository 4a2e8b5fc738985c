"""The accounts of Google that the operator has set up: whose they are, and the credentials where these lie."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from knowledge.sources.google_drive.tokens import AccessTokens, CredentialsUnusable, ServiceAccount, credentials_of
from knowledge.sources.port import SourceRefused
from server.system_config import GoogleAccount
from server.vault import VaultPlace, VaultUnusable

VAULT_FIELD = "credentials"
_MOST_BYTES = 64 * 1024

VaultAt = Callable[[str], VaultPlace | None]
"""The place of a path in Vault; None: the environment names no Vault, or one that would be asked in the open."""


@dataclass(slots=True)
class ConfiguredAccounts:
    """DriveAccounts of the operator's file, read as it is now. An access token is kept for as long as it is good."""

    current: Callable[[], Sequence[GoogleAccount]]
    vault_at: VaultAt
    of_environment: SecretStr | None = None
    """GLOW_GOOGLE_CREDENTIALS."""
    _tokens: dict[bytes, AccessTokens] = field(default_factory=dict[bytes, AccessTokens], repr=False)

    def names(self, organization: str) -> Sequence[str]:
        """Those of an organization."""
        return [account.name for account in self.current() if account.organization == organization]

    async def tokens(self, organization: str, name: str) -> AccessTokens:
        """Raises  SourceRefused: the words hold nothing of the credentials."""
        found = [each for each in self.current() if (each.organization, each.name) == (organization, name)]
        if not found:
            raise SourceRefused(f"the operator has set up no Google account {name} for this organization")
        account = found[0]
        # Read each time: a key that was replaced is then the one that is used.
        document = await asyncio.to_thread(self._document, account)
        digest = hashlib.sha256(f"{account.impersonate}\0{document}".encode()).digest()
        if digest not in self._tokens:
            self._tokens[digest] = self._opened(account, document)
        return self._tokens[digest]

    def _opened(self, account: GoogleAccount, document: str) -> AccessTokens:
        try:
            credentials = credentials_of(document)
        except CredentialsUnusable as unusable:
            raise SourceRefused(
                f"the credentials of the Google account {account.name} cannot be used: {unusable}"
            ) from None
        if account.impersonate is not None and not isinstance(credentials, ServiceAccount):
            raise SourceRefused(f"the Google account {account.name} is a person's, and reads with no other's eyes")
        return AccessTokens(credentials, account.impersonate)

    def _document(self, account: GoogleAccount) -> str:
        """Raises  SourceRefused."""
        if account.file is not None:
            return _content(Path(account.file), account.name)
        if account.vault is not None:
            document = self._from_vault(account.vault, account.name)
            place = f"the field {VAULT_FIELD} of {account.vault}"
        else:
            document = None if self.of_environment is None else self.of_environment.get_secret_value()
            place = "GLOW_GOOGLE_CREDENTIALS"
        if not document:
            raise SourceRefused(f"the credentials of the Google account {account.name} are missing: {place} holds none")
        return document

    def _from_vault(self, path: str, name: str) -> str | None:
        place = self.vault_at(path)
        if place is None:
            raise SourceRefused(
                f"the Google account {name} is in Vault: VAULT_ADDR (https) and VAULT_TOKEN are not set"
            )
        try:
            return place.read().get(VAULT_FIELD)
        except VaultUnusable as unusable:
            raise SourceRefused(f"the credentials of the Google account {name} cannot be read: {unusable}") from None


def _content(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise SourceRefused(f"the credentials of the Google account {name} are no file of Google's: too large")
        return content.decode()
    except (OSError, UnicodeDecodeError) as unreadable:
        why = unreadable.strerror if isinstance(unreadable, OSError) else "it is no text"
        raise SourceRefused(f"the credentials of the Google account {name} cannot be read: {why}") from None

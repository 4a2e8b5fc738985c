"""Opens Google Drive for a source: with the accounts that the operator has given to its organization, and no others."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Final, Protocol

from knowledge.sources.google_drive.client import API_URL, USUAL, DriveClient, Manners
from knowledge.sources.google_drive.source import DriveSource
from knowledge.sources.google_drive.tokens import AccessTokens
from knowledge.sources.google_drive.tree import DriveScope
from knowledge.sources.port import SourceRefused

_ID: Final = re.compile(r"[A-Za-z0-9_-]{10,200}")
_ADDRESS: Final = re.compile(
    r"https://drive\.google\.com/drive/(?:u/\d{1,2}/)?folders/([A-Za-z0-9_-]{10,200})(?:[?#].*)?"
)
_KEYS: Final = frozenset({"account", "folder_id", "drive_id"})


class DriveAccounts(Protocol):
    """The accounts of Google that the operator has set up, each for one organization."""

    def names(self, organization: str) -> Sequence[str]:
        """Those of an organization, by its slug."""
        ...

    async def tokens(self, organization: str, name: str) -> AccessTokens:
        """What lets one in; the same each time, so that an access token serves for as long as it is good.

        Raises  SourceRefused: there is no such account, or its credentials cannot be used.
        """
        ...


class OpenDrive:
    """OpenSource for `google_drive`."""

    lasting: ClassVar[frozenset[str]] = _KEYS

    def __init__(self, accounts: DriveAccounts, *, api_url: str = API_URL, manners: Manners = USUAL) -> None:
        self._accounts = accounts
        self._api_url = api_url
        self._manners = manners

    def check(self, settings: Mapping[str, object], organization: str) -> Mapping[str, object]:
        """`account`, `folder_id`, `drive_id`: which account reads, and what of all that is shown to it.

        Raises  SourceRefused.
        """
        unknown = sorted(set(settings) - _KEYS)
        if unknown:
            raise SourceRefused(f"settings: {unknown[0]!r} is none of a Drive's; there are {', '.join(sorted(_KEYS))}")
        kept: dict[str, object] = {"account": self._account(settings.get("account"), organization)}
        for name in ("folder_id", "drive_id"):
            if name in settings:
                kept[name] = _id(name, settings[name])
        return kept

    @asynccontextmanager
    async def __call__(self, settings: Mapping[str, object], organization: str) -> AsyncGenerator[DriveSource]:
        """Raises  SourceUnavailable, SourceRefused."""
        import httpx2

        kept = self.check(settings, organization)
        tokens = await self._accounts.tokens(organization, str(kept["account"]))
        folder_id, drive_id = kept.get("folder_id"), kept.get("drive_id")
        scope = DriveScope(
            folder_id=None if folder_id is None else str(folder_id),
            drive_id=None if drive_id is None else str(drive_id),
        )
        timeout = httpx2.Timeout(self._manners.answer_s, connect=self._manners.connect_s)
        # A redirect would carry the access token to another host.
        async with httpx2.AsyncClient(timeout=timeout, follow_redirects=False) as http:
            client = DriveClient(http=http, tokens=tokens, api_url=self._api_url, manners=self._manners)
            yield DriveSource(client, scope)

    def _account(self, name: object, organization: str) -> str:
        """Raises  SourceRefused."""
        names = self._accounts.names(organization)
        if not names:
            raise SourceRefused(
                "settings: the operator has set up no Google account for this organization "
                "(sources.google_accounts in the configuration file)"
            )
        if name is None and len(names) == 1:
            return names[0]
        if name not in names:
            raise SourceRefused(f"settings: account must be one of {', '.join(names)}")
        return str(name)


def _id(name: str, value: object) -> str:
    """An id, also out of the address that a browser shows. Raises  SourceRefused."""
    if isinstance(value, str):
        address = _ADDRESS.fullmatch(value.strip())
        if address is not None:
            return address[1]
        if _ID.fullmatch(value):
            return value
    raise SourceRefused(f"settings: {name} is no id of Google Drive's, as the address of a folder shows it")

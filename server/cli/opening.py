"""The hub as a command opens it, and the principal a command acts as."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from pydantic import SecretStr

from domain.kernel import Principal
from server.cli.failure import CommandFailed
from server.database.identities import Member, PostgresIdentities
from server.database.provision import provided
from server.hub import Hub, HubOptions, open_hub
from server.settings import Settings, SettingsInvalid, load_settings
from server.storage.choosing import storage_of

LOCAL_URL = "http://127.0.0.1:8000"
"""Where a server of this installation is reached when none runs and nobody says otherwise."""


@asynccontextmanager
async def opened(settings: Settings, local_url: str) -> AsyncGenerator[Hub]:
    """The hub on the database that the settings mean; `local_url` stands in for a public one."""
    options = HubOptions(storage=storage_of(settings))
    async with provided(settings) as urls, open_hub(settings, urls, settings.public_url or local_url, options) as hub:
        yield hub


def acting_hub() -> AbstractAsyncContextManager[Hub]:
    """The hub of this installation, for a command that acts and serves nobody."""
    settings = load_settings()
    return opened(without_doors(settings), settings.home.address() or LOCAL_URL)


def without_doors(settings: Settings) -> Settings:
    """Settings for a process that neither issues nor reads tokens: it needs no signing secret of the installation."""
    try:
        settings.check_tokens()
    except SettingsInvalid:
        return settings.model_copy(update={"jwt_secret": SecretStr(secrets.token_urlsafe(32))})
    return settings


async def acting(hub: Hub, organization: str, user: str | None) -> Principal:
    """The principal of a command: a person's own hand, or the organization's service account, which is an agent.

    Raises  CommandFailed: there is none such.
    """
    member = await found_member(hub.identities, organization, user)
    return Principal(
        organization_id=member.organization_id,
        principal_id=member.principal_id,
        kind=member.kind,
        mode="person" if member.kind == "person" else "agent",
        door="cli",
    )


async def found_member(identities: PostgresIdentities, organization: str, user: str | None) -> Member:
    """The member that a command names; without a user, the service account.

    Raises  CommandFailed: there is none such.
    """
    if user is None:
        principal_id = await identities.service_account(organization)
    else:
        principal_id = await identities.principal_by_email(user)
    member = None if principal_id is None else await identities.member(organization, principal_id)
    if member is None:
        whom = "a service account" if user is None else f"a member {user}"
        raise CommandFailed(f"there is no organization {organization!r} with {whom}")
    return member

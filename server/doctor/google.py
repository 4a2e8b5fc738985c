"""Whether the credentials of the Google accounts that sources read with can be used; Google itself is not asked."""

from collections.abc import AsyncGenerator

from knowledge.sources.port import SourceRefused
from server.doctor.finding import Finding, wrong
from server.google_accounts import ConfiguredAccounts
from server.settings import Settings
from server.system_config import SystemConfigFile, SystemConfigInvalid


async def google_findings(settings: Settings) -> AsyncGenerator[Finding]:
    """Of each account that cannot be used, why; of those that can, how many there are."""
    try:
        given = SystemConfigFile.open(settings.system_config_path).current.sources.google_accounts
    except SystemConfigInvalid:
        # Said elsewhere.
        return
    accounts, unusable = ConfiguredAccounts(lambda: given, settings.vault_at, settings.google_credentials), 0
    for account in given:
        try:
            await accounts.tokens(account.organization, account.name)
        except SourceRefused as refused:
            unusable += 1
            mend = "mend what sources.google_accounts names, or what this account may read (docs/sources-drive.md)"
            yield wrong("google", f"{account.organization}: {refused}", mend)
    if given and not unusable:
        says = f"the credentials of {len(given)} accounts can be used; whether Google takes them, a sync says"
        yield Finding(part="google", state="ok", says=says)

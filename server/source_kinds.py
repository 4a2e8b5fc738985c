"""How sources of each kind are opened here: what the operator lets be read, and by which accounts."""

from typing import TYPE_CHECKING

from knowledge.sources.folder import OpenFolder
from knowledge.sources.google_drive.opening import OpenDrive
from knowledge.sources.web.opening import OpenWeb
from server.google_accounts import ConfiguredAccounts
from server.operated import roots_of
from server.settings import Settings
from server.system_config import SystemConfigFile
from tools.handlers import SourceKinds

if TYPE_CHECKING:
    from knowledge.fetching.fetcher import WebFetcher


def source_kinds(settings: Settings, config: SystemConfigFile, fetcher: "WebFetcher | None" = None) -> SourceKinds:
    """By the operator's file as it is when a source is opened. `fetcher`: of pages; None: within the usual bounds."""
    accounts = ConfiguredAccounts(
        lambda: config.current.sources.google_accounts, settings.vault_at, settings.google_credentials
    )
    return {
        "folder": OpenFolder(lambda: roots_of(config.current)),
        "google_drive": OpenDrive(accounts, api_url=settings.drive_api_url),
        "web": OpenWeb(fetcher),
    }

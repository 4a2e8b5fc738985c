"""An account of Google is one organization's, and its credentials are where the operator says, and nowhere else."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from knowledge.sources.google_drive.opening import OpenDrive
from knowledge.sources.google_drive.tokens import CredentialsUnusable, credentials_of
from knowledge.sources.port import SourceRefused
from server.google_accounts import ConfiguredAccounts
from server.settings import Settings
from server.system_config import GoogleAccount, SourcesConfig, SystemConfigInvalid, read_system_config
from server.vault import VaultPlace, VaultUnusable
from tests.support.environment import bare_environment
from tests.support.fake_drive import person_credentials, robot_credentials

TOKEN_URL = "https://oauth2.googleapis.com/token"
ADDRESS = "https://drive.google.com/drive/u/0/folders/1AbCdEfGhIjKl?usp=sharing"

WRONG: list[dict[str, object]] = [
    {"account": "tax"},
    {"account": 7},
    {"account": ""},
    {"token": "x"},
    {"folder_id": "../x"},
    {"folder_id": 7},
    {"drive_id": "'"},
    {"folder_id": "https://elsewhere.test/folders/1AbCdEfGhIjKl"},
]


def accounts(*given: GoogleAccount, environment: str | None = None) -> ConfiguredAccounts:
    secret = None if environment is None else SecretStr(environment)
    return ConfiguredAccounts(lambda: given, lambda path: None, secret)


def account(name: str = "office", organization: str = "acme-audit", **more: str) -> GoogleAccount:
    return GoogleAccount(name=name, organization=organization, **more)


async def test_an_organization_opens_its_own_accounts_and_no_others() -> None:
    held = accounts(account(), account("tax", "borealis-tax"), environment=person_credentials(TOKEN_URL))
    assert (held.names("acme-audit"), held.names("borealis-tax"), held.names("other")) == (["office"], ["tax"], [])
    await held.tokens("acme-audit", "office")
    for organization, name in (("borealis-tax", "office"), ("acme-audit", "tax"), ("other", "office")):
        with pytest.raises(SourceRefused):
            await held.tokens(organization, name)
    opener = OpenDrive(held)
    for settings in WRONG:
        with pytest.raises(SourceRefused):
            opener.check(settings, "acme-audit")
    with pytest.raises(SourceRefused, match="no Google account"):
        opener.check({}, "other")
    assert opener.check({}, "acme-audit") == {"account": "office"}
    assert opener.check({"folder_id": ADDRESS}, "acme-audit") == {"account": "office", "folder_id": "1AbCdEfGhIjKl"}


async def test_which_of_several_accounts_reads_is_to_be_said() -> None:
    opener = OpenDrive(accounts(account(file="/a"), account("second", file="/b")))
    with pytest.raises(SourceRefused, match="office, second"):
        opener.check({}, "acme-audit")
    assert opener.check({"account": "second"}, "acme-audit") == {"account": "second"}


async def test_credentials_in_a_file_are_read_as_they_are_now_and_an_access_token_serves_on(tmp_path: Path) -> None:
    file = tmp_path / "robot.json"
    file.write_text(person_credentials(TOKEN_URL))
    held = accounts(account(file=str(file)))
    first = await held.tokens("acme-audit", "office")
    assert await held.tokens("acme-audit", "office") is first
    file.write_text(person_credentials(TOKEN_URL, "1//another"))
    assert await held.tokens("acme-audit", "office") is not first


@pytest.mark.parametrize(
    "content",
    ["", "nonsense", "{}", '{"type": "service_account"}', '{"type": "external_account"}', "[]", "\0", "x" * 70_000],
)
async def test_credentials_that_are_none_are_refused_and_nothing_of_them_is_said(content: str, tmp_path: Path) -> None:
    file = tmp_path / "robot.json"
    file.write_text(content)
    for held in (accounts(account(file=str(file))), accounts(account(), environment=content)):
        with pytest.raises(SourceRefused, match="Google account office") as refused:
            await held.tokens("acme-audit", "office")
        assert len(str(refused.value)) < 300


async def test_credentials_that_are_missing_say_where(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="GLOW_GOOGLE_CREDENTIALS"):
        await accounts(account()).tokens("acme-audit", "office")
    with pytest.raises(SourceRefused, match="No such file"):
        await accounts(account(file=str(tmp_path / "none"))).tokens("acme-audit", "office")
    with pytest.raises(SourceRefused, match="VAULT_ADDR"):
        await accounts(account(vault="secret/glow/drive")).tokens("acme-audit", "office")


async def test_credentials_in_vault_are_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    class Place(VaultPlace):
        def read(self) -> dict[str, str]:
            if self.path == "secret/sealed":
                raise VaultUnusable("Vault is sealed")
            return {"credentials": person_credentials(TOKEN_URL)} if self.path == "secret/whole" else {}

    def at(path: str) -> VaultPlace:
        return Place(address="https://vault.test", token=SecretStr("t"), path=path)

    for path, words in (("secret/sealed", "sealed"), ("secret/empty", "credentials of secret/empty")):
        with pytest.raises(SourceRefused, match=words):
            await ConfiguredAccounts(lambda path=path: [account(vault=path)], at).tokens("acme-audit", "office")
    held = ConfiguredAccounts(lambda: [account(vault="secret/whole")], at)
    assert (await held.tokens("acme-audit", "office")).impersonated is None


async def test_only_a_service_account_reads_with_a_persons_eyes() -> None:
    eyes = account(impersonate="partner@acme.example")
    with pytest.raises(SourceRefused, match="person's"):
        await accounts(eyes, environment=person_credentials(TOKEN_URL)).tokens("acme-audit", "office")
    held = accounts(eyes, environment=robot_credentials(TOKEN_URL))
    assert (await held.tokens("acme-audit", "office")).impersonated == "partner@acme.example"


@pytest.mark.parametrize("url", ["http://tokens.test/token", "ftp://a.test/", "https://u:p@a.test/", "nonsense"])
def test_a_key_is_sent_to_no_token_server_in_the_open(url: str) -> None:
    with pytest.raises(CredentialsUnusable) as refused:
        credentials_of(person_credentials(url))
    assert "secret" not in str(refused.value)


def test_a_secret_of_the_credentials_shows_nowhere() -> None:
    found = repr(credentials_of(robot_credentials(TOKEN_URL))) + repr(credentials_of(person_credentials(TOKEN_URL)))
    assert "PRIVATE KEY" not in found
    assert "1//refresh" not in found


@pytest.mark.parametrize(
    "given",
    [
        [{"name": "a", "organization": "x", "file": "/a", "vault": "secret/a"}],
        [{"name": "a", "organization": "x", "file": "relative"}],
        [{"name": "a", "organization": "x", "vault": "nowhere"}],
        [{"name": "A b", "organization": "x"}],
        [{"name": "a"}],
        [{"name": "a", "organization": "x", "private_key": "x"}],
        [{"name": "a", "organization": "x", "impersonate": "nobody"}],
        [{"name": "a", "organization": "x", "file": "/a"}, {"name": "a", "organization": "x", "file": "/b"}],
        [{"name": "a", "organization": "x"}, {"name": "b", "organization": "y"}],
    ],
)
def test_accounts_that_make_no_sense_are_refused_with_the_file(given: object, tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text(json.dumps({"sources": {"google_accounts": given}}))
    with pytest.raises(SystemConfigInvalid, match=r"google_accounts|sources"):
        read_system_config(file)
    assert SourcesConfig().google_accounts == []


def test_drive_is_asked_by_https_and_vault_too(tmp_path: Path) -> None:
    with bare_environment(tmp_path) as environment:
        assert Settings().drive_api_url == "https://www.googleapis.com/drive/v3"
        assert Settings().vault_at("secret/a") is None
        environment.setenv("VAULT_TOKEN", "t")
        environment.setenv("VAULT_ADDR", "http://vault.test")
        assert Settings().vault_at("secret/a") is None
        environment.setenv("VAULT_ADDR", "https://vault.test")
        assert Settings().vault_at("secret/a") == VaultPlace(
            address="https://vault.test", token=SecretStr("t"), path="secret/a"
        )
        environment.setenv("GLOW_DRIVE_API_URL", "http://drive.test")
        with pytest.raises(ValueError, match="https"):
            Settings()

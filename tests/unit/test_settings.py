"""Settings from the environment: exact names, defaults that hold no secret, and messages that say what to set."""

import base64
import hashlib
from pathlib import Path

import pytest

from server.home import JWT_SECRET, GlowHome
from server.hub import embedder_of
from server.settings import HostedModel, Settings, SettingsInvalid, load_settings

SECRET = base64.b64encode(bytes(32)).decode()
URLS = {
    "DATABASE_URL": "postgresql://glow_app:hidden@db/glow",
    "GLOW_RECORDER_DATABASE_URL": "postgresql://glow_recorder:hidden@db/glow",
    "GLOW_SERVICE_DATABASE_URL": "postgresql://glow_service:hidden@db/glow",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without any setting, in a folder without .env."""
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_without_any_setting_the_database_is_embedded_and_the_model_offline(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings.is_embedded
    assert settings.hosted_model is None
    assert settings.jwt_secret is None


def test_no_setting_has_a_secret_as_default() -> None:
    secrets = {"jwt_secret", "openai_api_key", "database_url", "owner_database_url"}
    assert {Settings.model_fields[name].default for name in secrets} == {None}


def test_a_key_means_chat_completions_and_then_a_model_must_be_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-hidden")
    with pytest.raises(SettingsInvalid, match="GLOW_MODEL: set the model's name"):
        load_settings()
    environment.setenv("GLOW_MODEL", "a-model")
    hosted = load_settings().hosted_model
    assert isinstance(hosted, HostedModel)
    assert (hosted.name, hosted.base_url, hosted.timeout_s) == ("a-model", None, 120.0)


def test_a_base_url_alone_is_enough_for_a_server_that_asks_for_no_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    environment.setenv("GLOW_MODEL", "a-model")
    hosted = load_settings().hosted_model
    assert hosted is not None
    assert (hosted.api_key, hosted.base_url) == (None, "http://127.0.0.1:9/v1")


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
def test_either_api_can_be_asked_for(environment: pytest.MonkeyPatch, api: str) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-hidden")
    environment.setenv("GLOW_MODEL_API", api)
    with pytest.raises(SettingsInvalid, match="GLOW_MODEL: set the model's name"):
        load_settings()
    environment.setenv("GLOW_MODEL", "a-model")
    hosted = load_settings().hosted_model
    assert hosted is not None
    assert hosted.api == api


def test_offline_can_be_asked_for_though_there_is_a_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-hidden")
    environment.setenv("GLOW_MODEL_API", "offline")
    assert load_settings().hosted_model is None


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
def test_an_api_without_key_and_base_url_says_what_to_set(environment: pytest.MonkeyPatch, api: str) -> None:
    environment.setenv("GLOW_MODEL_API", api)
    environment.setenv("GLOW_MODEL", "a-model")
    with pytest.raises(SettingsInvalid, match="OPENAI_API_KEY: set it"):
        load_settings()


def test_an_empty_variable_counts_as_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_API_KEY", "")
    environment.setenv("DATABASE_URL", "")
    settings = load_settings()
    assert settings.hosted_model is None
    assert settings.is_embedded


def test_an_external_database_needs_a_url_for_each_login_that_serves(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", URLS["DATABASE_URL"])
    settings = load_settings()
    assert not settings.is_embedded
    with pytest.raises(SettingsInvalid) as refused:
        settings.database_urls()
    assert [problem.split(":")[0] for problem in refused.value.problems] == list(URLS)[1:]


def test_an_external_database_is_never_mistaken_for_the_embedded_one(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GLOW_OWNER_DATABASE_URL", "postgresql://glow_owner:hidden@db/glow")
    settings = load_settings()
    assert not settings.is_embedded
    assert settings.owner_url() == "postgresql://glow_owner:hidden@db/glow"
    with pytest.raises(SettingsInvalid, match="DATABASE_URL"):
        settings.database_urls()


def test_serving_works_without_the_owner_and_migrating_does_not(environment: pytest.MonkeyPatch) -> None:
    for name, url in URLS.items():
        environment.setenv(name, url)
    settings = load_settings()
    assert settings.database_urls().owner is None
    with pytest.raises(SettingsInvalid, match="GLOW_OWNER_DATABASE_URL"):
        settings.owner_url()


def test_no_secret_shows_in_a_repr(environment: pytest.MonkeyPatch) -> None:
    for name, url in URLS.items():
        environment.setenv(name, url)
    environment.setenv("GLOW_JWT_SECRET", SECRET)
    settings = load_settings()
    shown = f"{settings!r} {settings} {settings.database_urls()!r}"
    assert "hidden" not in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://hidden@db/glow"),
        ("DATABASE_URL", "postgresql://hidden@db"),
        ("GLOW_JWT_SECRET", "hidden"),
        ("GLOW_MODEL_API", "hidden"),
        ("GLOW_MODEL_TIMEOUT_S", "0"),
        ("GLOW_MODEL_TIMEOUT_S", "hidden"),
        ("GLOW_PUBLIC_URL", "hidden.example.com"),
        ("GLOW_ALLOWED_ORIGINS", "*"),
        ("GLOW_ALLOWED_ORIGINS", "https://a.example, https://b.example/hidden"),
        ("GLOW_TRUSTED_PROXIES", "10.0.0.0/8, hidden"),
    ],
)
def test_a_wrong_value_is_named_by_its_variable_and_not_shown(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=name) as refused:
        load_settings()
    assert "hidden" not in str(refused.value)


def test_lists_are_written_with_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GLOW_ALLOWED_ORIGINS", "https://a.example, http://127.0.0.1:3000/")
    environment.setenv("GLOW_TRUSTED_PROXIES", "10.0.0.0/8,::1")
    settings = load_settings()
    assert settings.allowed_origins == ("https://a.example", "http://127.0.0.1:3000")
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]


def test_dotenv_is_read_and_the_environment_wins(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GLOW_MODEL_TIMEOUT_S=5\nGLOW_JWT_ISSUER=from-file\nUNRELATED=1\n", encoding="utf-8")
    environment.setenv("GLOW_JWT_ISSUER", "from-environment")
    settings = load_settings()
    assert (settings.model_timeout_s, settings.jwt_issuer) == (5.0, "from-environment")


def test_the_secret_that_the_demo_made_is_found_in_the_home(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("GLOW_HOME", str(tmp_path / "home"))
    settings = load_settings()
    with pytest.raises(SettingsInvalid, match="GLOW_JWT_SECRET: set it"):
        settings.signing_secret()
    made = GlowHome(tmp_path / "home").make_secret(JWT_SECRET)
    assert settings.signing_secret().get_secret_value() == made
    environment.setenv("GLOW_JWT_SECRET", SECRET)
    assert load_settings().signing_secret().get_secret_value() == SECRET


MODEL = {"OPENAI_API_KEY": "sk-hidden", "GLOW_MODEL": "m"}
OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("given", "base_url", "key"),
    [
        (MODEL, OPENAI, "OPENAI_API_KEY"),
        (MODEL | {"OPENAI_BASE_URL": "http://both/v1"}, "http://both/v1", "OPENAI_API_KEY"),
        ({"GLOW_EMBEDDING_BASE_URL": "http://vectors/v1/"}, "http://vectors/v1", None),
        # The model's key goes to no other server than the model's own.
        (MODEL | {"GLOW_EMBEDDING_BASE_URL": "https://vectors.example/v1"}, "https://vectors.example/v1", None),
        (MODEL | {"GLOW_EMBEDDING_BASE_URL": "http://api.openai.com/v1"}, "http://api.openai.com/v1", None),
        (MODEL | {"GLOW_EMBEDDING_BASE_URL": "https://api.openai.com:444/v1"}, "https://api.openai.com:444/v1", None),
        (
            MODEL | {"GLOW_EMBEDDING_BASE_URL": "https://api.openai.com/v2"},
            "https://api.openai.com/v2",
            "OPENAI_API_KEY",
        ),
        (
            MODEL | {"OPENAI_BASE_URL": "http://both:1/v1", "GLOW_EMBEDDING_BASE_URL": "http://both:1/vectors"},
            "http://both:1/vectors",
            "OPENAI_API_KEY",
        ),
        (MODEL | {"OPENAI_BASE_URL": "http://chat/v1", "GLOW_EMBEDDING_BASE_URL": OPENAI}, OPENAI, None),
        (MODEL | {"GLOW_EMBEDDING_API_KEY": "hidden"}, OPENAI, "GLOW_EMBEDDING_API_KEY"),
        ({"GLOW_EMBEDDING_API_KEY": "hidden"}, OPENAI, "GLOW_EMBEDDING_API_KEY"),
        (
            {"GLOW_EMBEDDING_API_KEY": "hidden", "GLOW_EMBEDDING_BASE_URL": "http://127.0.0.1:9/v1"},
            "http://127.0.0.1:9/v1",
            "GLOW_EMBEDDING_API_KEY",
        ),
    ],
)
def test_vectors_come_from_where_a_key_or_a_server_of_their_own_is_set_and_a_key_goes_nowhere_else(
    environment: pytest.MonkeyPatch, given: dict[str, str], base_url: str, key: str | None
) -> None:
    for name, value in given.items():
        environment.setenv(name, value)
    server = load_settings().embedding_server
    assert server is not None
    assert (server.model, server.base_url, server.key_variable) == ("text-embedding-3-small", base_url, key)
    shown = None if server.api_key is None else server.api_key.get_secret_value()
    assert shown == (None if key is None else given[key])


def test_a_key_for_vectors_is_not_sent_where_anybody_on_the_way_reads_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GLOW_EMBEDDING_API_KEY", "sk-hidden")
    environment.setenv("GLOW_EMBEDDING_BASE_URL", "http://vectors.example/v1")
    with pytest.raises(SettingsInvalid, match="GLOW_EMBEDDING_API_KEY: would be sent over http") as refused:
        load_settings()
    assert "sk-hidden" not in str(refused.value)


@pytest.mark.parametrize("given", [MODEL, {"GLOW_EMBEDDING_API_KEY": "k"}, {"GLOW_EMBEDDING_BASE_URL": "http://v/v1"}])
def test_embeddings_are_switched_off_whatever_keys_are_set(
    environment: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in (given | {"GLOW_EMBEDDING_MODEL": "none"}).items():
        environment.setenv(name, value)
    settings = load_settings()
    assert settings.embedding_server is None
    assert embedder_of(settings) is None


def test_a_chat_server_without_a_key_is_not_taken_to_give_vectors(environment: pytest.MonkeyPatch) -> None:
    assert load_settings().embedding_server is None
    environment.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    environment.setenv("GLOW_MODEL", "a-model")
    assert load_settings().embedding_server is None


def test_an_embedding_server_that_is_no_url_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GLOW_EMBEDDING_BASE_URL", "vectors")
    with pytest.raises(SettingsInvalid, match="GLOW_EMBEDDING_BASE_URL"):
        load_settings()


ISSUED = {
    "GLOW_JWKS_URL": "https://sign-in.example/jwks.json",
    "GLOW_JWT_ISSUER": "https://sign-in.example",
    "GLOW_JWT_AUDIENCE": "authenticated",
}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"GLOW_JWT_ISSUER": ""}, "GLOW_JWT_ISSUER: set it"),
        ({"GLOW_JWT_ISSUER": "glow"}, "GLOW_JWT_ISSUER: set it"),
        ({"GLOW_JWT_AUDIENCE": ""}, "GLOW_JWT_AUDIENCE: set it"),
        ({"GLOW_JWKS_URL": "http://sign-in.example/jwks.json"}, "must be https"),
        ({"GLOW_JWKS_URL": "keys.json"}, "not a URL"),
    ],
)
def test_an_issuers_keys_alone_are_not_enough_to_start(
    environment: pytest.MonkeyPatch, changed: dict[str, str], words: str
) -> None:
    for name, value in (ISSUED | changed).items():
        environment.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=words):
        load_settings()


def test_an_issuer_needs_no_secret_and_trusts_none_that_merely_lies_there(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    GlowHome(tmp_path / "home").make_secret(JWT_SECRET)
    environment.setenv("GLOW_HOME", str(tmp_path / "home"))
    for name, value in ISSUED.items():
        environment.setenv(name, value)
    settings = load_settings()
    settings.check_tokens()
    assert (settings.issuer, settings.own_issuer, settings.token_secret()) == ("https://sign-in.example", "glow", None)
    with pytest.raises(SettingsInvalid, match=r"no token can be signed here: they come from https://sign-in\.example"):
        settings.signing_secret()
    environment.setenv("GLOW_JWT_SECRET", SECRET)
    assert load_settings().signing_secret().get_secret_value() == SECRET


def test_a_public_address_is_audience_enough_beside_an_issuers_keys(environment: pytest.MonkeyPatch) -> None:
    for name, value in (ISSUED | {"GLOW_JWT_AUDIENCE": "", "GLOW_PUBLIC_URL": "https://hub.example"}).items():
        environment.setenv(name, value)
    assert load_settings().issuer == "https://sign-in.example"


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"SLACK_SIGNING_SECRET": "s"}, "SLACK_BOT_TOKEN"),
        ({"SLACK_APP_TOKEN": "xapp-1"}, "SLACK_BOT_TOKEN"),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_SIGNING_SECRET"),
    ],
)
def test_half_a_slack_app_is_none(environment: pytest.MonkeyPatch, given: dict[str, str], missing: str) -> None:
    for name, value in given.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=missing):
        load_settings()


def test_the_key_of_the_ledger_is_made_once_and_kept_unless_one_is_set(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("GLOW_HOME", str(tmp_path / "home"))
    made = load_settings().ledger_key()
    assert load_settings().ledger_key().key_id == made.key_id
    environment.setenv("GLOW_LEDGER_KEY", SECRET)
    assert load_settings().ledger_key().key_id == hashlib.sha256(load_settings().ledger_key().public_key).hexdigest()
    assert load_settings().ledger_key().key_id != made.key_id


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"GLOW_HEADS_WEBHOOK_SECRET": "hunter2"}, "shorter than 24 bytes"),
        ({"GLOW_HEADS_WEBHOOK_SECRET": "whsec_hunter2!"}, "not base64 behind whsec_"),
        ({"GLOW_HEADS_WEBHOOK_SECRET": "whsec_aHVudGVyMg=="}, "shorter than 24 bytes"),
        ({"GLOW_HEADS_S3_ACCESS_KEY_ID": "AKIA"}, "GLOW_HEADS_S3_SECRET_ACCESS_KEY, or neither"),
    ],
)
def test_secrets_of_the_places_for_heads_are_whole_or_refused(
    environment: pytest.MonkeyPatch, given: dict[str, str], says: str
) -> None:
    for name, value in given.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsInvalid) as raised:
        load_settings()
    assert says in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("given", ["hidden", base64.b64encode(bytes(31)).decode(), "!" * 44])
def test_what_is_no_key_of_a_ledger_is_refused_and_not_repeated(environment: pytest.MonkeyPatch, given: str) -> None:
    environment.setenv("GLOW_LEDGER_KEY", given)
    with pytest.raises(SettingsInvalid, match="GLOW_LEDGER_KEY: not 32 bytes in base64") as refused:
        load_settings()
    assert given not in str(refused.value)


def test_without_slacks_settings_there_is_no_slack_app(environment: pytest.MonkeyPatch) -> None:
    assert load_settings().slack is None


def test_a_slack_app_may_have_its_api_elsewhere(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SLACK_BOT_TOKEN", "xoxb-hidden")
    environment.setenv("SLACK_APP_TOKEN", "xapp-hidden")
    environment.setenv("SLACK_API_BASE_URL", "http://127.0.0.1:1/api/")
    slack = load_settings().slack
    assert slack is not None
    assert slack.base_url == "http://127.0.0.1:1/api/"
    assert slack.signing_secret is None
    assert "hidden" not in repr(slack)

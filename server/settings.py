"""What the environment and `.env` say of an installation, parsed once at start; the only reader of either."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from agent.model import OFFLINE
from knowledge.chunk import DEFAULT_BUDGET
from knowledge.embeddings.local import INSTALL, is_installed
from knowledge.reranking.wire import RerankApi
from knowledge.sources.google_drive.client import API_URL as DRIVE_API
from server.fallbacks import NONE, SHAPE, Fallback, HostedApi, fallback_of
from server.home import JWT_SECRET, GlowHome
from server.ledger_keys import KeySource
from server.logins import DatabaseUrls
from server.origins import LOOPBACK, NotAnOrigin, origin_named, origin_of
from server.signing import LedgerKey, seed_of
from server.slack_app import API as SLACK_API
from server.slack_app import SlackApp
from server.vault import VaultPlace, vault_path

ModelApi = HostedApi | Literal["offline"]
KeyVariable = Literal["GLOW_EMBEDDING_API_KEY", "OPENAI_API_KEY"]
FilesIn = Literal["folder", "database", "s3"]
BUCKET_NAME = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
Network = IPv4Network | IPv6Network

OWN_ISSUER = "glow"
"""The `iss` of tokens that this installation signs itself."""

SHORTEST_SECRET_BYTES = 32
"""Of a key for HS256.  Source  RFC 7518 3.2."""

SHORTEST_WEBHOOK_SECRET_BYTES = 24
"""Source  Standard Webhooks 1.0.0."""

OPENAI = "https://api.openai.com/v1"
"""Where a model, or vectors, come from when no other address is set."""

NO_EMBEDDINGS = "none"
"""The GLOW_EMBEDDING_MODEL of an installation whose texts go to no embedding server."""

LOCAL_EMBEDDINGS = "local"
"""The same of one whose texts become vectors in its own processes, by the model of the extra `local`."""


class SettingsInvalid(Exception):
    """The settings cannot be used; each problem names the variable and what to set, never a value that was given."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(("the settings (environment or .env) need mending:", *(f"- {p}" for p in problems))))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServer:
    """A model at OpenAI or any compatible server, and the API that it is spoken to by."""

    name: str
    api: HostedApi
    api_key: SecretStr | None
    """None for a server that asks for none."""
    base_url: str | None = field(default=None)
    """None is OpenAI's own."""
    timeout_s: float
    stall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedModel(ModelServer):
    """The installation's own, and who answers in its place when it does not."""

    fallbacks: tuple[ModelServer, ...] = ()
    falls_back: bool = True
    """After them the offline model answers; False: when nobody else could, the answer fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankServer:
    """A model that looks at a search's first passages again, behind one of the two rerank APIs."""

    model: str
    api: RerankApi
    base_url: str
    api_key: SecretStr | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingServer:
    """A model behind the embeddings API, at OpenAI or any compatible server."""

    model: str
    base_url: str
    key_variable: KeyVariable | None
    """The setting that the key is from; None for a server that is sent none."""
    api_key: SecretStr | None


def _postgres_url(secret: SecretStr) -> SecretStr:
    parts = urlsplit(secret.get_secret_value())
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        raise ValueError("not a URL like postgresql://login:password@host:5432/database")
    return secret


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("not a URL like https://hub.example.com")
    return url.rstrip("/")


def _is_open(url: str) -> bool:
    """Whether anybody on the way reads, and changes, what is sent there."""
    parts = urlsplit(url)
    return parts.scheme != "https" and parts.hostname not in LOOPBACK


def _same_origin(one: str, other: str) -> bool:
    try:
        return origin_of(one) == origin_of(other)
    except NotAnOrigin:
        return one == other


def _origin(text: str) -> str:
    try:
        return origin_named(text)
    except NotAnOrigin:
        raise ValueError("not an origin like https://intranet.example.com (no path, no wildcard)") from None


def _keys_url(url: str) -> str:
    if _is_open(_http_url(url)):
        raise ValueError("must be https: whoever can change the keys on their way can sign in as anybody")
    return url


def _secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < SHORTEST_SECRET_BYTES:
        raise ValueError(f"shorter than {SHORTEST_SECRET_BYTES} bytes; `openssl rand -base64 32` makes one")
    return secret


def _ledger_key(secret: SecretStr) -> SecretStr:
    seed_of(secret.get_secret_value())
    return secret


def _webhook_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    try:
        known = base64.b64decode(text.removeprefix("whsec_"), validate=True) if text.startswith("whsec_") else text
    except binascii.Error:
        raise ValueError("not base64 behind whsec_") from None
    if len(known) < SHORTEST_WEBHOOK_SECRET_BYTES:
        raise ValueError(f"shorter than {SHORTEST_WEBHOOK_SECRET_BYTES} bytes; `openssl rand -base64 32` makes one")
    return secret


def _split(value: object) -> object:
    """The parts of a list written with commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _network(value: object) -> object:
    try:
        return ip_network(value, strict=False) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("not a list of addresses or networks like 10.0.0.0/8, ::1") from None


PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Origin = Annotated[str, AfterValidator(_origin)]


class Settings(BaseSettings):
    """The settings of contract.md; a secret never shows in a repr, and none has a default."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    database_url: PostgresUrl | None = Field(default=None, validation_alias="DATABASE_URL")
    """As glow_app; without any of the four the embedded PostgreSQL is used."""
    owner_database_url: PostgresUrl | None = Field(default=None, validation_alias="GLOW_OWNER_DATABASE_URL")
    """For migrations; a process that only serves is better without it."""
    recorder_database_url: PostgresUrl | None = Field(default=None, validation_alias="GLOW_RECORDER_DATABASE_URL")
    service_database_url: PostgresUrl | None = Field(default=None, validation_alias="GLOW_SERVICE_DATABASE_URL")
    system_config_path: Path | None = Field(default=None, validation_alias="SYSTEM_CONFIG_PATH")
    """What may change while the server runs; without it the file that ships."""
    glow_home: Path | None = Field(default=None, validation_alias="GLOW_HOME")

    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    openai_base_url: HttpUrl | None = Field(default=None, validation_alias="OPENAI_BASE_URL")
    model: str | None = Field(default=None, validation_alias="GLOW_MODEL")
    model_api: ModelApi | None = Field(default=None, validation_alias="GLOW_MODEL_API")
    model_timeout_s: float = Field(default=120.0, gt=0, le=3600, validation_alias="GLOW_MODEL_TIMEOUT_S")
    """For an answer to begin, and for each silence of a model that reasons."""
    model_stall_s: float = Field(default=30.0, gt=0, le=3600, validation_alias="GLOW_MODEL_STALL_S")
    """For each silence within an answer; after it the stream is cut, and the model asked for the rest."""

    fallback_models: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(), validation_alias="GLOW_FALLBACK_MODELS"
    )
    """Who answers when the model does not, in this order, and the offline model last. `none`: nobody, not even it."""
    fallback_api_key: SecretStr | None = Field(default=None, validation_alias="GLOW_FALLBACK_API_KEY")
    """For fallback models at another server than the model's own, which never sees OPENAI_API_KEY."""

    embedding_model: str = Field(
        default="text-embedding-3-small", min_length=1, max_length=200, validation_alias="GLOW_EMBEDDING_MODEL"
    )
    """`none`: no text goes to any embedding server, whatever keys are set; `local`: nor then, and there are vectors."""
    embedding_base_url: HttpUrl | None = Field(default=None, validation_alias="GLOW_EMBEDDING_BASE_URL")
    """A server for vectors alone; without it they come from where the model is, given a key."""
    embedding_api_key: SecretStr | None = Field(default=None, validation_alias="GLOW_EMBEDDING_API_KEY")
    """For vectors alone; without it OPENAI_API_KEY, which goes nowhere but where the model is."""

    rerank_base_url: HttpUrl | None = Field(default=None, validation_alias="GLOW_RERANK_BASE_URL")
    """A server that looks at a search's first passages again; None: nobody does."""
    rerank_model: str | None = Field(default=None, min_length=1, max_length=200, validation_alias="GLOW_RERANK_MODEL")
    rerank_api: RerankApi = Field(default="cohere", validation_alias="GLOW_RERANK_API")
    rerank_api_key: SecretStr | None = Field(default=None, validation_alias="GLOW_RERANK_API_KEY")
    """For that server alone; OPENAI_API_KEY never goes there."""

    chunk_tokens: int = Field(default=DEFAULT_BUDGET, ge=64, le=2000, validation_alias="GLOW_CHUNK_TOKENS")
    """Tokens of one passage at most. Where it changes documents are cut up and embedded anew, and found meanwhile."""

    slack_bot_token: SecretStr | None = Field(default=None, validation_alias="SLACK_BOT_TOKEN")
    slack_signing_secret: SecretStr | None = Field(default=None, validation_alias="SLACK_SIGNING_SECRET")
    """Of what Slack sends over HTTP."""
    slack_app_token: SecretStr | None = Field(default=None, validation_alias="SLACK_APP_TOKEN")
    """For Socket Mode, where Slack cannot reach this server."""
    slack_direct_messages: bool = Field(default=True, validation_alias="SLACK_DIRECT_MESSAGES")
    slack_api_base_url: HttpUrl = Field(default=SLACK_API.rstrip("/"), validation_alias="SLACK_API_BASE_URL")

    jwt_secret: Annotated[SecretStr, AfterValidator(_secret)] | None = Field(
        default=None, validation_alias="GLOW_JWT_SECRET"
    )
    ledger_key_text: Annotated[SecretStr, AfterValidator(_ledger_key)] | None = Field(
        default=None, validation_alias="GLOW_LEDGER_KEY"
    )
    """What signs the ledger's heads; the same for every process of an installation."""
    ledger_key_file: Path | None = Field(default=None, validation_alias="GLOW_LEDGER_KEY_FILE")
    ledger_vault_path: Annotated[str, AfterValidator(vault_path)] | None = Field(
        default=None, validation_alias="GLOW_LEDGER_VAULT_PATH"
    )
    """A secret of KV version 2 whose field `key` is that key, and `previous_key` the one before."""
    ledger_previous_key_text: Annotated[SecretStr, AfterValidator(_ledger_key)] | None = Field(
        default=None, validation_alias="GLOW_LEDGER_PREVIOUS_KEY"
    )
    """What signed before, to vouch for the key that follows it."""
    vault_address: HttpUrl | None = Field(default=None, validation_alias="VAULT_ADDR")
    vault_token: SecretStr | None = Field(default=None, validation_alias="VAULT_TOKEN")
    heads_webhook_secret: Annotated[SecretStr, AfterValidator(_webhook_secret)] | None = Field(
        default=None, validation_alias="GLOW_HEADS_WEBHOOK_SECRET"
    )
    """What heads of the ledger are signed with on their way to webhooks."""
    heads_s3_access_key_id: str | None = Field(default=None, validation_alias="GLOW_HEADS_S3_ACCESS_KEY_ID")
    heads_s3_secret_access_key: SecretStr | None = Field(
        default=None, validation_alias="GLOW_HEADS_S3_SECRET_ACCESS_KEY"
    )
    """Of an account that may write objects into the buckets that heads are sent to, and best nothing else."""
    files_in: FilesIn | None = Field(default=None, validation_alias="GLOW_FILES")
    files_folder: Path | None = Field(default=None, validation_alias="GLOW_FILES_FOLDER")
    s3_bucket: str | None = Field(default=None, pattern=BUCKET_NAME, validation_alias="GLOW_S3_BUCKET")
    s3_region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,40}$", validation_alias="GLOW_S3_REGION")
    s3_endpoint: HttpUrl | None = Field(default=None, validation_alias="GLOW_S3_ENDPOINT")
    s3_prefix: str = Field(
        default="", pattern=r"^([A-Za-z0-9_.-]+/)*$", max_length=500, validation_alias="GLOW_S3_PREFIX"
    )
    s3_access_key_id: str | None = Field(default=None, validation_alias="GLOW_S3_ACCESS_KEY_ID")
    s3_secret_access_key: SecretStr | None = Field(default=None, validation_alias="GLOW_S3_SECRET_ACCESS_KEY")
    """Of an account that may read, write, delete and list the objects of that bucket, and best nothing else."""
    google_credentials: SecretStr | None = Field(default=None, validation_alias="GLOW_GOOGLE_CREDENTIALS")
    """Of the one Google account of the operator's file that names no file and no secret of Vault's."""
    drive_api_url: HttpUrl = Field(default=DRIVE_API, validation_alias="GLOW_DRIVE_API_URL")
    jwks_url: Annotated[str, AfterValidator(_keys_url)] | None = Field(default=None, validation_alias="GLOW_JWKS_URL")
    """Where an issuer's public keys are; its tokens are RS256 or ES256."""
    jwt_issuer: str = Field(default=OWN_ISSUER, min_length=1, validation_alias="GLOW_JWT_ISSUER")
    """What `iss` must be; with `sub` it is mapped to a user."""
    jwt_audience: str | None = Field(default=None, validation_alias="GLOW_JWT_AUDIENCE")
    """An issuer's own audience that counts as `api`."""
    jwt_organization_claim: str = Field(default="org", min_length=1, validation_alias="GLOW_JWT_ORGANIZATION_CLAIM")
    """Where a token names the organization: a claim, or a path of claims parted by dots."""

    public_url: HttpUrl | None = Field(default=None, validation_alias="GLOW_PUBLIC_URL")
    """Where people reach this server; `/mcp` below it is an audience that counts as `mcp`."""
    allowed_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(), validation_alias="GLOW_ALLOWED_ORIGINS"
    )
    """Other origins whose pages may call this server; a list with commas."""
    trusted_proxies: Annotated[
        tuple[Annotated[Network, BeforeValidator(_network)], ...], NoDecode, BeforeValidator(_split)
    ] = Field(default=(), validation_alias="GLOW_TRUSTED_PROXIES")
    """Addresses or networks whose X-Forwarded-* headers are believed; a list with commas."""

    @model_validator(mode="after")
    def _model_is_whole(self) -> Self:
        if self._model_api() != "offline":
            if self.model is None:
                raise ValueError("GLOW_MODEL: set the model's name (or GLOW_MODEL_API=offline)")
            if self.openai_api_key is None and self.openai_base_url is None:
                raise ValueError("OPENAI_API_KEY: set it, or OPENAI_BASE_URL for a server that asks for none")
        return self

    @model_validator(mode="after")
    def _fallbacks_are_whole(self) -> Self:
        if NONE in self.fallback_models and len(self.fallback_models) > 1:
            raise ValueError(f"GLOW_FALLBACK_MODELS: `none` stands alone; write {SHAPE}")
        try:
            named = self._fallbacks()
        except ValueError as wrong:
            raise ValueError(f"GLOW_FALLBACK_MODELS: an entry {wrong}") from wrong
        away = {each.base_url for each in named if each.base_url and not self._is_own(each.base_url)}
        if self.fallback_api_key is not None:
            if len({urlsplit(url).netloc for url in away}) > 1:
                raise ValueError("GLOW_FALLBACK_API_KEY: would be shown to several servers; name models of one only")
            if any(map(_is_open, away)):
                raise ValueError("GLOW_FALLBACK_API_KEY: would be sent over http for anybody on the way to read")
        return self

    @model_validator(mode="after")
    def _local_embeddings_are_there(self) -> Self:
        if not self.embeds_locally:
            return self
        for name, given in (
            ("GLOW_EMBEDDING_BASE_URL", self.embedding_base_url),
            ("GLOW_EMBEDDING_API_KEY", self.embedding_api_key),
        ):
            if given is not None:
                raise ValueError(f"{name}: unset it; GLOW_EMBEDDING_MODEL={LOCAL_EMBEDDINGS} asks no server")
        if not is_installed():
            raise ValueError(f"GLOW_EMBEDDING_MODEL: {LOCAL_EMBEDDINGS} needs its extra: {INSTALL}")
        return self

    @model_validator(mode="after")
    def _embedding_key_is_kept(self) -> Self:
        server = self.embedding_server
        if server is not None and server.key_variable == "GLOW_EMBEDDING_API_KEY" and _is_open(server.base_url):
            raise ValueError(
                "GLOW_EMBEDDING_API_KEY: would be sent over http for anybody on the way to read; "
                "reach the embedding server by https, or set no key"
            )
        return self

    @model_validator(mode="after")
    def _rerank_server_is_whole(self) -> Self:
        if self.rerank_base_url is None:
            for name, given in (("GLOW_RERANK_MODEL", self.rerank_model), ("GLOW_RERANK_API_KEY", self.rerank_api_key)):
                if given is not None:
                    raise ValueError(f"{name}: does nothing without GLOW_RERANK_BASE_URL; set that, or unset it")
            return self
        if self.rerank_model is None and self.rerank_api == "cohere":
            raise ValueError("GLOW_RERANK_MODEL: set the model's name (or GLOW_RERANK_API=tei, whose server has one)")
        if self.rerank_api_key is not None and _is_open(self.rerank_base_url):
            raise ValueError(
                "GLOW_RERANK_API_KEY: would be sent over http for anybody on the way to read; "
                "reach the rerank server by https, or set no key"
            )
        return self

    @model_validator(mode="after")
    def _issuer_is_whole(self) -> Self:
        if self.jwks_url is not None:
            if self.jwt_issuer == OWN_ISSUER:
                raise ValueError("GLOW_JWT_ISSUER: set it to the `iss` of the tokens whose keys GLOW_JWKS_URL gives")
            if self.jwt_audience is None and self.public_url is None:
                raise ValueError(
                    "GLOW_JWT_AUDIENCE: set it to the `aud` of the issuer's tokens (or set GLOW_PUBLIC_URL)"
                )
        return self

    @property
    def issuer(self) -> str | None:
        """Whose tokens are checked by keys of its own; None: tokens are signed with this installation's secret."""
        return None if self.jwks_url is None else self.jwt_issuer

    @property
    def own_issuer(self) -> str:
        """The `iss` of tokens that are signed with the secret."""
        return self.jwt_issuer if self.jwks_url is None else OWN_ISSUER

    @model_validator(mode="after")
    def _ledger_key_is_one(self) -> Self:
        ways = {
            "GLOW_LEDGER_KEY": self.ledger_key_text,
            "GLOW_LEDGER_KEY_FILE": self.ledger_key_file,
            "GLOW_LEDGER_VAULT_PATH": self.ledger_vault_path,
        }
        named = [name for name, way in ways.items() if way is not None]
        if len(named) > 1:
            raise ValueError(f"{named[0]}: set it, or {' or '.join(named[1:])}, not both: the key would be either")
        if self.ledger_vault_path is not None:
            if self.vault_address is None or self.vault_token is None:
                raise ValueError("GLOW_LEDGER_VAULT_PATH: set VAULT_ADDR and VAULT_TOKEN too")
            if _is_open(self.vault_address):
                raise ValueError("VAULT_ADDR: must be https: the key would be sent for anybody on the way to read")
        return self

    @model_validator(mode="after")
    def _drive_is_asked_in_private(self) -> Self:
        if _is_open(self.drive_api_url):
            raise ValueError(
                "GLOW_DRIVE_API_URL: must be https: tokens and documents would be sent for anybody to read"
            )
        return self

    @model_validator(mode="after")
    def _s3_account_is_whole(self) -> Self:
        if (self.heads_s3_access_key_id is None) != (self.heads_s3_secret_access_key is None):
            raise ValueError("GLOW_HEADS_S3_ACCESS_KEY_ID: set it and GLOW_HEADS_S3_SECRET_ACCESS_KEY, or neither")
        return self

    @model_validator(mode="after")
    def _files_are_kept_somewhere(self) -> Self:
        needed = {
            "GLOW_S3_BUCKET": self.s3_bucket,
            "GLOW_S3_ACCESS_KEY_ID": self.s3_access_key_id,
            "GLOW_S3_SECRET_ACCESS_KEY": self.s3_secret_access_key,
        }
        lacks = [name for name, value in needed.items() if not value]
        if self.files_in == "s3" and lacks:
            raise ValueError(f"{lacks[0]}: set it too, since GLOW_FILES is s3")
        if self.s3_endpoint is not None and _is_open(self.s3_endpoint):
            raise ValueError("GLOW_S3_ENDPOINT: must be https, unless it is on this machine")
        if self.files_folder is not None and not self.files_folder.expanduser().is_absolute():
            raise ValueError("GLOW_FILES_FOLDER: must be an absolute path")
        return self

    @property
    def files_kept_in(self) -> FilesIn:
        """Where files are kept; beside the embedded database in a folder, since that is one machine's."""
        return self.files_in or ("folder" if self.is_embedded else "database")

    @model_validator(mode="after")
    def _slack_is_whole(self) -> Self:
        ways_in = (self.slack_signing_secret, self.slack_app_token)
        if self.slack_bot_token is None and any(ways_in):
            raise ValueError("SLACK_BOT_TOKEN: set it too, or neither SLACK_SIGNING_SECRET nor SLACK_APP_TOKEN")
        if self.slack_bot_token is not None and not any(ways_in):
            raise ValueError("SLACK_SIGNING_SECRET: set it too, or SLACK_APP_TOKEN for Socket Mode")
        return self

    @property
    def slack(self) -> SlackApp | None:
        """The Slack app that this server is; None: it has no such door."""
        if self.slack_bot_token is None:
            return None
        return SlackApp(
            bot_token=self.slack_bot_token,
            signing_secret=self.slack_signing_secret,
            app_token=self.slack_app_token,
            base_url=f"{self.slack_api_base_url}/",
            direct_messages=self.slack_direct_messages,
        )

    @property
    def home(self) -> GlowHome:
        """GLOW_HOME, or its default."""
        return GlowHome.resolve(self.glow_home)

    @property
    def hosted_model(self) -> HostedModel | None:
        """The model to ask; None is the offline one."""
        api = self._model_api()
        if api == "offline" or self.model is None:
            return None
        return HostedModel(
            name=self.model,
            api=api,
            api_key=self.openai_api_key,
            base_url=self.openai_base_url,
            timeout_s=self.model_timeout_s,
            stall_s=self.model_stall_s,
            fallbacks=tuple(self._fallback(each, api) for each in self._fallbacks()),
            falls_back=NONE not in self.fallback_models,
        )

    def _fallbacks(self) -> Sequence[Fallback]:
        """The hosted ones; the offline model needs no naming.

        Raises  ValueError: one is not written as it must be.
        """
        return [fallback_of(each) for each in self.fallback_models if each not in (NONE, OFFLINE)]

    def _fallback(self, named: Fallback, api: HostedApi) -> ModelServer:
        base_url = named.base_url or self.openai_base_url
        return ModelServer(
            name=named.name,
            api=named.api or api,
            api_key=self.openai_api_key if self._is_own(base_url) else self.fallback_api_key,
            base_url=base_url,
            timeout_s=self.model_timeout_s,
            stall_s=self.model_stall_s,
        )

    def _is_own(self, base_url: str | None) -> bool:
        """Whether that is where the model is, so that its key may go there."""
        return _same_origin(base_url or OPENAI, self.openai_base_url or OPENAI)

    @property
    def embedding_server(self) -> EmbeddingServer | None:
        """The server that gives vectors; None: none does, and search is by words unless they are made here."""
        keys = (self.embedding_api_key, self.openai_api_key)
        if self.embedding_model in (NO_EMBEDDINGS, LOCAL_EMBEDDINGS):
            return None
        if self.embedding_base_url is None and not any(keys):
            return None
        base_url = self.embedding_base_url or self.openai_base_url or OPENAI
        variable, key = self._embedding_key(base_url)
        return EmbeddingServer(model=self.embedding_model, base_url=base_url, key_variable=variable, api_key=key)

    @property
    def rerank_server(self) -> RerankServer | None:
        """Who looks at what a search found first; None: nobody."""
        if self.rerank_base_url is None:
            return None
        return RerankServer(
            model=self.rerank_model or "tei",
            api=self.rerank_api,
            base_url=self.rerank_base_url,
            api_key=self.rerank_api_key,
        )

    @property
    def embeds_locally(self) -> bool:
        """Whether vectors are made in this process."""
        return self.embedding_model == LOCAL_EMBEDDINGS

    def _embedding_key(self, base_url: str) -> tuple[KeyVariable | None, SecretStr | None]:
        """The key that goes there: the model's is shown to no other server than the model's own."""
        if self.embedding_api_key is not None:
            return "GLOW_EMBEDDING_API_KEY", self.embedding_api_key
        if self.openai_api_key is not None and _same_origin(base_url, self.openai_base_url or OPENAI):
            return "OPENAI_API_KEY", self.openai_api_key
        return None, None

    @property
    def is_embedded(self) -> bool:
        """Whether no database is named, so that the embedded one is meant."""
        return not any(url for _, url in self._database())

    def database_urls(self) -> DatabaseUrls:
        """The logins of the external database.

        Raises  SettingsInvalid: one that serving needs is not set.
        """
        missing = [name for name, url in self._database() if url is None and name != "GLOW_OWNER_DATABASE_URL"]
        if missing:
            raise SettingsInvalid(tuple(f"{name}: set it, each login has its own URL" for name in missing))
        return DatabaseUrls(
            app=_revealed(self.database_url),
            recorder=_revealed(self.recorder_database_url),
            service=_revealed(self.service_database_url),
            owner=_revealed(self.owner_database_url) or None,
        )

    def owner_url(self) -> str:
        """The URL that migrates the external database.

        Raises  SettingsInvalid: it is not set.
        """
        if self.owner_database_url is None:
            raise SettingsInvalid(("GLOW_OWNER_DATABASE_URL: set it to migrate (the login glow_owner)",))
        return self.owner_database_url.get_secret_value()

    def token_secret(self) -> SecretStr | None:
        """What signs and checks own tokens: GLOW_JWT_SECRET, else what `make demo` left in GLOW_HOME; None: neither.

        Where tokens come from an issuer, only a secret that was set counts: none is trusted that merely lies there.
        """
        if self.jwt_secret is not None or self.jwks_url is not None:
            return self.jwt_secret
        made = self.home.secret(JWT_SECRET)
        return None if made is None else SecretStr(made)

    def signing_secret(self) -> SecretStr:
        """The secret, for who must sign.

        Raises  SettingsInvalid: there is none.
        """
        secret = self.token_secret()
        if secret is not None:
            return secret
        if self.jwks_url is not None:
            says = f"not set, so no token can be signed here: they come from {self.jwt_issuer} (GLOW_JWKS_URL)"
            raise SettingsInvalid((f"GLOW_JWT_SECRET: {says}; sign in there, or set it as well",))
        raise SettingsInvalid(("GLOW_JWT_SECRET: set it (`openssl rand -base64 32` makes one)",))

    @property
    def ledger_key_source(self) -> KeySource:
        """Where what signs the ledger's heads comes from."""
        vault = None
        if self.ledger_vault_path and self.vault_address and self.vault_token:
            vault = VaultPlace(address=self.vault_address, token=self.vault_token, path=self.ledger_vault_path)
        return KeySource(
            text=self.ledger_key_text,
            file=self.ledger_key_file,
            vault=vault,
            previous=self.ledger_previous_key_text,
            home=self.home,
        )

    def vault_at(self, path: str) -> VaultPlace | None:
        """A place in Vault; None: none is named, or one that would be asked in the open."""
        if self.vault_address is None or self.vault_token is None or _is_open(self.vault_address):
            return None
        return VaultPlace(address=self.vault_address, token=self.vault_token, path=path)

    def ledger_key(self) -> LedgerKey:
        """What signs the ledger's heads, made now if there is none.

        Raises  LedgerKeyUnusable.
        """
        return self.ledger_key_source.keys().signer

    def check_tokens(self) -> None:
        """Raises  SettingsInvalid: no token of anybody's could be checked."""
        if self.jwks_url is None:
            self.signing_secret()

    def _model_api(self) -> ModelApi:
        if self.model_api is not None:
            return self.model_api
        return "chat_completions" if self.openai_api_key or self.openai_base_url else "offline"

    def _database(self) -> tuple[tuple[str, SecretStr | None], ...]:
        return (
            ("DATABASE_URL", self.database_url),
            ("GLOW_OWNER_DATABASE_URL", self.owner_database_url),
            ("GLOW_RECORDER_DATABASE_URL", self.recorder_database_url),
            ("GLOW_SERVICE_DATABASE_URL", self.service_database_url),
        )


def load_settings() -> Settings:
    """The settings of this process.

    Raises  SettingsInvalid: something is wrong or incomplete.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsInvalid(tuple(_problem(fault["loc"], fault["msg"]) for fault in error.errors())) from error


def _problem(place: tuple[int | str, ...], message: str) -> str:
    words = message.removeprefix("Value error, ")
    return f"{place[0]}: {words}" if place else words


def _revealed(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""

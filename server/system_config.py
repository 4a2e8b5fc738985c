"""What an operator may change while the server runs: config/system.yaml, looked at again, the last good one held."""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import structlog
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from domain.resources import resource_folder
from knowledge.parse.document import DEFAULT_LIMITS
from server.origins import LOOPBACK
from server.vault import vault_path
from tools.yaml_files import UnreadableYaml, read_yaml

log = structlog.get_logger()

REREAD_EVERY_S = 15.0
"""Well within the minute that is promised."""
MIB = 1024 * 1024
_MOST_BYTES = 1024 * 1024

Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class _Part(BaseModel):
    """Exact types, and nothing that nobody reads: a misspelt key must not pass for a setting."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class PrincipalLimits(_Part):
    """What one principal may have under way at once in one process."""

    runs: Count = 8
    streams: Count = 32
    uploads: Count = 4


class UploadLimits(_Part):
    """What an upload may weigh."""

    file_mib: Annotated[int, Field(ge=1, le=DEFAULT_LIMITS.size_bytes // MIB)] = DEFAULT_LIMITS.size_bytes // MIB
    """At most what is read: a larger file would be taken in only to fail."""
    request_mib: Annotated[int, Field(ge=1, le=16384)] = 200

    @property
    def file_bytes(self) -> int:
        return self.file_mib * MIB

    @property
    def request_bytes(self) -> int:
        return self.request_mib * MIB


class RunLimits(_Part):
    """The most that one run may spend; None leaves it to the persona."""

    turns: Annotated[int, Field(ge=2, le=1000)] | None = None
    calls: Count | None = None
    tokens: Count | None = None
    seconds: Annotated[float, Field(gt=0, le=86_400, strict=False, allow_inf_nan=False)] | None = None


class ModelTraits(_Part):
    """What the operator knows of a model."""

    context_tokens: Annotated[int, Field(ge=2048, le=100_000_000)]
    """What a request and its answer may hold together."""


Dollars = Annotated[float, Field(ge=0, le=1_000_000, strict=False, allow_inf_nan=False)]


class Price(_Part):
    """US dollars for a million tokens."""

    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None
    """For what the provider remembered of what was read; None: no less than the rest."""

    def of(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """What so many tokens cost, in US dollars; `cached_tokens` are some of those read."""
        cached = self.input if self.cached_input is None else self.cached_input
        read = (input_tokens - cached_tokens) * self.input + cached_tokens * cached
        return round((read + output_tokens * self.output) / 1_000_000, 6)


Weight = Annotated[float, Field(ge=0, le=100, strict=False, allow_inf_nan=False)]


class SearchConfig(_Part):
    """What words and meaning count where a search fuses their orders, and how far a second stage goes.

    Of the two weights only their relation matters.
    """

    lexical_weight: Weight = 1.0
    vector_weight: Weight | None = None
    """None: what was measured of the embedding model, else as much as words."""
    rank_constant: Weight | None = None
    """Of reciprocal ranks; None: what was measured of the embedding model, else 60."""
    rerank_candidates: Annotated[int, Field(ge=0, le=100)] = 30
    """The first passages that a rerank server is asked about; 0: it is not asked."""
    rerank_timeout_ms: Annotated[int, Field(ge=50, le=15_000)] = 1500
    """How long a search waits for it."""

    @model_validator(mode="after")
    def _some_order_counts(self) -> Self:
        if self.lexical_weight == self.vector_weight == 0:
            raise ValueError("lexical_weight and vector_weight cannot both be 0: nothing would be before anything else")
        return self


class ConversationConfig(_Part):
    """How conversations are kept."""

    titles: Literal["first_line", "model"] = "first_line"
    """By the first line of the first message; or by the model that answered it, for a call of it more."""


def _safe_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.fragment:
        raise ValueError("not a URL like https://heads.example.com/glow, without a name or password in it")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("must be https, unless it is on this machine")
    return url


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError("not an absolute path")
    return path


def _plain(path: str) -> str:
    if _absolute(path) != os.path.normpath(path) or path == "/":
        raise ValueError("not a path like /srv/papers: absolute, without . or .. in it, and not everything there is")
    return path


SafeUrl = Annotated[str, Field(max_length=2000), AfterValidator(_safe_url)]


class S3Bucket(_Part):
    """A bucket of S3, or of whatever speaks as it does."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-]+/)*$", max_length=500)] = ""
    endpoint: SafeUrl | None = None
    """None: Amazon's own of that region."""


class HeadPlace(_Part):
    """A place that heads of the ledger are sent to: exactly one of file, s3 and webhook."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    file: Annotated[str, AfterValidator(_absolute)] | None = None
    s3: S3Bucket | None = None
    webhook: SafeUrl | None = None
    organizations: Annotated[list[str], Field(min_length=1, max_length=1000)] | None = None
    """Whose, by their slugs; None: every organization's."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if sum(each is not None for each in (self.file, self.s3, self.webhook)) != 1:
            raise ValueError("name exactly one of file, s3 and webhook")
        return self


class HeadsConfig(_Part):
    """Where heads of the ledger are sent."""

    every_s: Annotated[int, Field(ge=1, le=7 * 86_400)] = 300
    """At most so often to one place, and only a newer one."""
    to: Annotated[list[HeadPlace], Field(max_length=20)] = Field(default_factory=list[HeadPlace])

    @model_validator(mode="after")
    def _are_told_apart(self) -> Self:
        if len({place.name for place in self.to}) < len(self.to):
            raise ValueError("two places have the same name")
        return self


class ApprovalConfig(_Part):
    """How people are kept aware of what waits for them."""

    remind_before_minutes: Annotated[int, Field(ge=0, le=10_080)] = 240
    """Before its time is over; 0: nobody is reminded."""

    @property
    def remind_before(self) -> timedelta | None:
        return timedelta(minutes=self.remind_before_minutes) or None


class DocumentConfig(_Part):
    """What becomes of deleted documents."""

    restore_days: Annotated[int, Field(ge=0, le=3650)] = 30
    """As long they can be restored, from their deletion; 0: not at all."""

    @property
    def grace(self) -> timedelta:
        return timedelta(days=self.restore_days)


Share = Annotated[float, Field(gt=0, lt=1, strict=False, allow_inf_nan=False)]


class AutonomyConfig(_Part):
    """By which rules autonomy is earned from the record, and taken back."""

    z: Annotated[float, Field(gt=0, le=10, strict=False, allow_inf_nan=False)] = 1.96
    window_calls: Annotated[int, Field(ge=10, le=10_000)] = 200
    minimum_calls: Annotated[int, Field(ge=10, le=10_000)] = 30
    bound_to_raise_prepare: Share = 0.9
    bound_to_raise_commit: Share = 0.95
    incident_calls: Annotated[int, Field(ge=1, le=1000)] = 20
    incidents_to_lower: Annotated[int, Field(ge=1, le=1000)] = 3
    reversal_days: Annotated[int, Field(ge=0, le=3650)] = 30

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.minimum_calls > self.window_calls:
            raise ValueError("minimum_calls is above window_calls: nothing could ever be proposed")
        if self.incidents_to_lower > self.incident_calls:
            raise ValueError("incidents_to_lower is above incident_calls: nothing could ever be taken back")
        return self


class SourceRoot(_Part):
    """A folder that sources may read, with all that is below it."""

    path: Annotated[str, AfterValidator(_plain)]
    organizations: Annotated[list[str], Field(min_length=1, max_length=1000)] | None = None
    """Whose sources, by their slugs; None: every organization's."""


class GoogleAccount(_Part):
    """An account of Google that sources of one organization read with; its credentials lie elsewhere."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    organization: Annotated[str, Field(min_length=1, max_length=200)]
    """Whose, by its slug: with another's account one would read what is shown to that other alone."""
    file: Annotated[str, AfterValidator(_absolute)] | None = None
    vault: Annotated[str, AfterValidator(vault_path)] | None = None
    """A secret of KV version 2, whose field `credentials` they are. Without both: GLOW_GOOGLE_CREDENTIALS."""
    impersonate: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=300)] | None = None
    """Whose eyes a service account reads with."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if self.file is not None and self.vault is not None:
            raise ValueError("name file or vault, not both")
        return self


class SourcesConfig(_Part):
    """What sources of documents may read."""

    folders: Annotated[list[SourceRoot], Field(max_length=1000)] = Field(default_factory=list[SourceRoot])
    """None, and no folder is read."""
    google_accounts: Annotated[list[GoogleAccount], Field(max_length=1000)] = Field(default_factory=list[GoogleAccount])
    """None, and no Drive is read."""

    @model_validator(mode="after")
    def _accounts_are_told_apart(self) -> Self:
        if len({(each.organization, each.name) for each in self.google_accounts}) < len(self.google_accounts):
            raise ValueError("two Google accounts of an organization have the same name")
        if sum(each.file is None and each.vault is None for each in self.google_accounts) > 1:
            raise ValueError("GLOW_GOOGLE_CREDENTIALS is one account's: name file or vault for the others")
        return self


class SystemConfig(_Part):
    """The whole file."""

    limits: PrincipalLimits = PrincipalLimits()
    uploads: UploadLimits = UploadLimits()
    runs: RunLimits = RunLimits()
    search: SearchConfig = SearchConfig()
    conversations: ConversationConfig = ConversationConfig()
    approvals: ApprovalConfig = ApprovalConfig()
    documents: DocumentConfig = DocumentConfig()
    heads: HeadsConfig = HeadsConfig()
    sources: SourcesConfig = SourcesConfig()
    autonomy: AutonomyConfig = AutonomyConfig()
    models: Mapping[str, ModelTraits] = Field(default_factory=dict[str, ModelTraits])
    """By the model's name."""
    prices: Mapping[str, Price] = Field(default_factory=dict[str, Price])
    """By the model's name."""


class SystemConfigInvalid(Exception):
    """The file cannot be used; each problem names the place in it."""

    def __init__(self, path: Path, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join((f"{path} cannot be used:", *(f"- {problem}" for problem in problems))))
        self.problems = problems


def read_system_config(path: Path) -> SystemConfig:
    """The configuration that a file holds; one that says nothing holds the defaults.

    Raises  SystemConfigInvalid: all that is wrong with it.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SystemConfigInvalid(path, (f"is larger than {_MOST_BYTES} bytes",))
        raw = read_yaml(path, empty=True)
    except OSError as unreadable:
        raise SystemConfigInvalid(path, (unreadable.strerror or "cannot be read",)) from unreadable
    except (UnreadableYaml, RecursionError) as unreadable:
        raise SystemConfigInvalid(path, (str(unreadable) or "is nested too deep",)) from unreadable
    try:
        return SystemConfig.model_validate(raw)
    except ValidationError as error:
        problems = tuple(
            f"{'.'.join(str(part) for part in fault['loc']) or '/'}: {fault['msg']}" for fault in error.errors()[:20]
        )
        raise SystemConfigInvalid(path, problems) from error


@dataclass(slots=True)
class SystemConfigFile:
    """The configuration in force. Whoever reads it asks for `current` each time, and keeps no part of it."""

    path: Path
    current: SystemConfig
    heads: HeadsConfig | None = None
    """Where heads are sent as long as the file names no place."""
    broken: bool = False
    """The file as it is now cannot be used; `current` is the last good one."""
    _digest: bytes = b""

    @classmethod
    def open(cls, configured: Path | None, heads: HeadsConfig | None = None) -> "SystemConfigFile":
        """The file of SYSTEM_CONFIG_PATH, else the one that ships.

        Raises  SystemConfigInvalid: at start there is no last good one to hold on to.
        """
        path = configured or resource_folder("config") / "system.yaml"
        current = _with_heads(read_system_config(path), heads)
        return cls(path=path, current=current, heads=heads, _digest=_digest_of(path))

    def reread(self) -> None:
        """Take the file as it is now, or hold on to the last good one and say so, once for each wrong content."""
        digest = _digest_of(self.path)
        if digest == self._digest:
            return
        self._digest = digest
        try:
            self.current = _with_heads(read_system_config(self.path), self.heads)
        except SystemConfigInvalid as invalid:
            self.broken = True
            log.error("system_config.unusable", path=str(self.path), problems=list(invalid.problems))
        else:
            self.broken = False
            log.info("system_config.taken", path=str(self.path))

    async def watch(self, every_s: float = REREAD_EVERY_S) -> None:
        """Look at the file until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await asyncio.to_thread(self.reread)


def _with_heads(config: SystemConfig, heads: HeadsConfig | None) -> SystemConfig:
    return config if heads is None or config.heads.to else config.model_copy(update={"heads": heads})


def _digest_of(path: Path) -> bytes:
    """What tells one content of the file from another; a file that is not there has one too."""
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read(_MOST_BYTES + 1)).digest()
    except OSError as unreadable:
        return str(unreadable.errno).encode()

"""The tools, each a manifest with its handler: found in step 3 of a call, and all complete or the server stays down."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson
from pydantic import BaseModel, ValidationError

from tools.json_schema import MAX_FAULTS, Checker, Fault, Json, fault_at
from tools.manifest import Manifest
from tools.manifest_files import ManifestFilesError, load_manifests
from tools.work import Handler

AnyHandler = Handler[Any]
"""Any: each handler has an arguments' type of its own, which only its tool knows."""


class RegistryError(Exception):
    """The tools do not fit together; the server does not start. Lists every fault that was found."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """Arguments that hold to their schema, as the handler's own type and as the record keeps them."""

    model: BaseModel
    arguments: Json
    canonical: str
    """JSON with sorted keys and no spaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """What is wrong with arguments, in words that a model can mend them by."""

    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One act that can be asked for."""

    manifest: Manifest
    handler: AnyHandler
    arguments_validator: Checker
    result_validator: Checker

    def parse(self, arguments: object) -> Parsed | Invalid:
        """The arguments, whatever they are, by the manifest's schema first and the handler's type then."""
        faults = self.arguments_validator.check(arguments)
        if faults:
            return Invalid(faults=faults)
        held = cast(Json, arguments)
        try:
            model = cast(BaseModel, self.handler.arguments.model_validate(held))
        except ValidationError as refused:
            return Invalid(faults=_faults_of(refused))
        canonical = orjson.dumps(held, option=orjson.OPT_SORT_KEYS).decode()
        return Parsed(model=model, arguments=held, canonical=canonical)

    def result_faults(self, result: object) -> tuple[Fault, ...]:
        """What is wrong with a result, by the manifest's schema; empty where it holds."""
        return self.result_validator.check(result)


def _faults_of(refused: ValidationError) -> tuple[Fault, ...]:
    errors = refused.errors(include_url=False, include_context=False, include_input=False)
    return tuple(fault_at(error["loc"], error["msg"]) for error in errors[:MAX_FAULTS])


class Registry:
    """Every tool there is, each with exactly one manifest and one handler."""

    def __init__(self, manifests: Iterable[Manifest], *handlers: Mapping[str, AnyHandler]) -> None:
        """`handlers`: one table, or one of each module that has some.

        Raises  RegistryError: a missing, spare or doubled handler, or one that takes other arguments.
        """
        held = tuple(manifests)
        pairs = [pair for table in handlers for pair in table.items()]
        named = dict(pairs)
        faults = [*_unpaired(held, pairs), *_shared(named), *_disagreeing(held, named)]
        if faults:
            raise RegistryError(faults)
        self._tools = {
            manifest.name: _tool(manifest, named[manifest.name])
            for manifest in sorted(held, key=lambda manifest: manifest.name)
        }
        self.digest = _digest(held)
        """SHA-256 over the names and digests of all manifests."""

    @classmethod
    def load(cls, folder: Path, *handlers: Mapping[str, AnyHandler]) -> "Registry":
        """The tools whose manifests stand in `folder`/tools.

        Raises  RegistryError: a manifest that cannot be used, or manifests and handlers that do not pair.
        """
        try:
            manifests = load_manifests(folder)
        except ManifestFilesError as unusable:
            raise RegistryError(unusable.faults) from unusable
        return cls(manifests, *handlers)

    def find(self, name: str) -> Tool | None:
        """The tool of that exact name."""
        return self._tools.get(name)

    def all(self) -> tuple[Tool, ...]:
        """Every tool, by name."""
        return tuple(self._tools.values())


def _tool(manifest: Manifest, handler: AnyHandler) -> Tool:
    return Tool(
        manifest=manifest,
        handler=handler,
        arguments_validator=Checker(manifest.arguments),
        result_validator=Checker(manifest.result),
    )


def _unpaired(manifests: Iterable[Manifest], handlers: Iterable[tuple[str, AnyHandler]]) -> list[str]:
    declared = Counter(manifest.name for manifest in manifests)
    handled = Counter(name for name, _ in handlers)
    return [
        *(f"{name}: has a manifest and no handler" for name in sorted(declared.keys() - handled.keys())),
        *(f"{name}: has a handler and no manifest" for name in sorted(handled.keys() - declared.keys())),
        *(f"{name}: has {count} manifests" for name, count in sorted(declared.items()) if count > 1),
        *(f"{name}: has {count} handlers" for name, count in sorted(handled.items()) if count > 1),
    ]


def _shared(handlers: Mapping[str, AnyHandler]) -> list[str]:
    """One function behind two names is a slip of the pen: it would run under the other's verdict."""
    names: dict[int, list[str]] = {}
    for name, handler in handlers.items():
        names.setdefault(id(handler.work), []).append(name)
    return [f"{', '.join(sorted(those))}: have one handler between them" for those in names.values() if len(those) > 1]


def _disagreeing(manifests: tuple[Manifest, ...], handlers: Mapping[str, AnyHandler]) -> list[str]:
    return [
        f"{manifest.name}: {fault}"
        for manifest in manifests
        if manifest.name in handlers
        for fault in _handler_faults(manifest, handlers[manifest.name])
    ] + [
        f"{manifest.name}: {fault}"
        for manifest in manifests
        if manifest.name in handlers
        for fault in _argument_faults(manifest, cast("type[BaseModel]", handlers[manifest.name].arguments))
    ]


def _handler_faults(manifest: Manifest, handler: AnyHandler) -> list[str]:
    if manifest.outside == (handler.outside is not None):
        return []
    return (
        ["the manifest says that it acts outside, its handler does not"]
        if manifest.outside
        else ["the handler acts outside, and the manifest does not say so"]
    )


def _argument_faults(manifest: Manifest, model: type[BaseModel]) -> list[str]:
    """Where a manifest's words are not true of its handler: an argument that would be ignored, or be missing."""
    declared = set(cast(Json, manifest.arguments.get("properties", {})))
    required = set(cast("list[str]", manifest.arguments.get("required", [])))
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    demanded = {name for name, field in fields.items() if field.is_required()}
    return [
        *(
            f"the manifest has an argument {name!r} that its handler does not take"
            for name in sorted(declared - set(fields))
        ),
        *(f"the handler takes {name!r}, which the manifest does not have" for name in sorted(set(fields) - declared)),
        *(f"the handler needs {name!r}, which the manifest does not require" for name in sorted(demanded - required)),
    ]


def _digest(manifests: tuple[Manifest, ...]) -> bytes:
    digest = hashlib.sha256()
    for manifest in sorted(manifests, key=lambda manifest: manifest.name):
        digest.update(manifest.name.encode() + b"\0" + manifest.digest)
    return digest.digest()

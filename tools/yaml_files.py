"""YAML files of plain data, read so that nothing is dropped in silence: what people write by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import yaml

Json = dict[str, object]


class UnreadableYaml(Exception):
    """Not one mapping of plain data under clear keys; the words say where, with the file's name."""


class _Loader(Protocol):
    def get_single_node(self) -> yaml.Node | None: ...

    def construct_document(self, node: yaml.Node, /) -> object: ...


_PlainLoader = cast("Callable[[str], _Loader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
"""Plain types alone; by libyaml where PyYAML was built with it: seven times as fast, and the start waits for it."""


def read_yaml(path: Path, *, empty: bool = False) -> Json:
    """The mapping that a .yaml file holds. Its values may be dates, which JSON does not have.

    `empty`: a file that says nothing, be it by comments alone, holds an empty one.

    Raises  UnreadableYaml: no .yaml file, not UTF-8, not YAML, more than one document, no mapping, or a key twice.
    """
    if path.suffix != ".yaml":
        raise UnreadableYaml(f"{path.name}: is no .yaml file")
    try:
        raw = _one_document(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as unreadable:
        raise UnreadableYaml(f"{path.name}: {unreadable}") from unreadable
    if raw is None and empty:
        return {}
    if not isinstance(raw, dict):
        raise UnreadableYaml(f"{path.name}: /: is no mapping")
    return cast(Json, raw)


def _one_document(text: str) -> object:
    """Raises  YAMLError: not YAML, or a key that stands twice, of which YAML would keep the last in silence."""
    loader = _PlainLoader(text)
    node = loader.get_single_node()
    _refuse_unclear_keys(node, set())
    return _made(loader, node) if node is not None else None


def _made(loader: _Loader, node: yaml.Node) -> object:
    """PyYAML words only some of what a value cannot be: of the 31st of November it lets Python's own errors through."""
    try:
        return loader.construct_document(node)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as senseless:
        raise yaml.YAMLError(f"holds a value that its type cannot be: {senseless}") from senseless


def _refuse_unclear_keys(node: yaml.Node | None, seen: set[int]) -> None:
    """`seen`: nodes by identity, since an alias leads to a node a second time, or into itself."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            keys.add(_clear_key(key, keys))
            _refuse_unclear_keys(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_unclear_keys(item, seen)


def _clear_key(key: yaml.Node, others: set[str]) -> str:
    if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
        raise yaml.MarkedYAMLError(problem="a key that is no string", problem_mark=key.start_mark)
    if key.value in others:
        raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands twice", problem_mark=key.start_mark)
    return key.value

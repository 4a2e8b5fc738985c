"""Tool calls put together from the fragments that servers send, with indices and ids that not all of them get right."""

import json
from collections.abc import Callable

import orjson

from agent.json_values import mapping, parsed, text, whole
from agent.model import ToolCall
from agent.providers.faults import ProviderFault
from agent.providers.turn import mended


class _Call:
    __slots__ = ("_arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self._arguments: list[str] = []

    @property
    def arguments(self) -> str:
        return "".join(self._arguments)

    @property
    def complete(self) -> bool:
        return bool(self.name) and isinstance(parsed(self.arguments), dict)

    def add(self, fragment_id: str, name: str, arguments: str) -> None:
        self.id = self.id or fragment_id
        # A name comes in pieces from some servers, and whole again with every fragment from others.
        if name != self.name:
            self.name += name
        if arguments:
            self._arguments.append(arguments)


class CallAssembly:
    """Collects fragments into calls, in the order in which the calls began.

    What was seen of servers: an index for each call, no index at all, index 0 for all; an id with the first fragment
    only, with each, a fresh one with each, or none; the name in pieces; a whole call in one fragment; arguments as an
    object instead of text.
    """

    def __init__(self, new_call_id: Callable[[], str]) -> None:
        self._new_call_id = new_call_id
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, fragment: dict[str, object]) -> None:
        """Takes one element of `delta.tool_calls`."""
        function = mapping(fragment.get("function"))
        fragment_id, name = text(fragment.get("id")), text(function.get("name"))
        arguments, index = arguments_text(function.get("arguments")), whole(fragment.get("index"))
        call = self._continued(index, fragment_id, name)
        if call is None or _begins_another(call, fragment_id, name, arguments):
            call = _Call()
            self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        call.add(fragment_id, name, arguments)

    def whole(self) -> list[ToolCall]:
        """The calls, each with an id of its own.

        Raises  ProviderFault: a call without a name.
        """
        taken: set[str] = set()
        new = self._new_call_id
        return [whole_call(call.id, call.name, call.arguments, taken=taken, new_call_id=new) for call in self._calls]

    def _continued(self, index: int | None, fragment_id: str, name: str) -> _Call | None:
        """The call that a fragment belongs to unless it begins another."""
        if index is not None and index in self._by_index:
            return self._by_index[index]
        if index is not None and name:
            return None
        by_id = (call for call in reversed(self._calls) if fragment_id and call.id == fragment_id)
        return next(by_id, self._calls[-1] if self._calls else None)


def _begins_another(call: _Call, fragment_id: str, name: str, arguments: str) -> bool:
    if not name:
        return False
    if fragment_id and call.id:
        return fragment_id != call.id
    return bool(arguments.strip()) and call.complete


def whole_call(call_id: str, name: str, arguments: str, *, taken: set[str], new_call_id: Callable[[], str]) -> ToolCall:
    """A call with an id of its own, which is added to `taken`.

    Raises  ProviderFault: a call without a name.
    """
    if not name:
        raise ProviderFault("protocol", detail="a tool call without a name")
    own_id = call_id if call_id and call_id not in taken else new_call_id()
    taken.add(own_id)
    return ToolCall(provider_id=own_id, name=mended(name), arguments=mended(arguments) or "{}")


def arguments_text(value: object) -> str:
    """Arguments as text, also of a server that sends them as an object."""
    return text(value) or (any_json(told) if (told := mapping(value)) else "")


def any_json(value: object) -> str:
    """JSON text also of what orjson will not write: numbers beyond 64 bits, halves of a character."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return json.dumps(value)

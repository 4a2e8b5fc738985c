"""How a call that waits is laid out at a terminal: what it says, and what of it differs from the last like call."""

from collections.abc import Iterator, Sequence
from typing import cast

import orjson

from server.cli.printing import plain
from tools.outcomes import Json

LONGEST_LINE = 160
"""Characters shown of arguments in one line."""
MARKS = {"changed": "~", "added": "+", "removed": "-"}
"""Before an argument that is not as it was in the last like call."""


def shown(text: object) -> str:
    """Text of anybody's, made harmless: what a terminal would obey is replaced."""
    return plain(str(text).replace("\r\n", "\n"))


def one_line(value: object) -> str:
    """A value in one line, cut where it is long."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    words = shown(" ".join(text.split()))
    return words if len(words) <= LONGEST_LINE else words[: LONGEST_LINE - 1] + "…"


def approval_lines(item: Json) -> Sequence[str]:
    """A call that waits, laid out for whoever has to answer it; with its comparison, where it was fetched with one."""
    set_up_by = ", ".join(cast("list[str]", item.get("set_up_by") or []))
    or_set_up = ", nor whoever set it up" if set_up_by else ""
    four_eyes = f", and not whoever asked for it{or_set_up} (four eyes)" if item["four_eyes"] else ""
    reasons = ", ".join(cast("list[str]", item.get("reasons") or []))
    until = _minute(item["expires_at"])
    return [
        f"{_HEADINGS.get(str(item.get('state')), 'A call waits for a person')}: {one_line(item['tool'])}",
        *_arguments(item),
        *_subjects(item),
        f"  because: {one_line(reasons) or 'policy says so'}",
        f"  asked for by: {one_line(item['requested_by'])}{f', set up by {one_line(set_up_by)}' if set_up_by else ''}",
        *_decision(item),
        f"  who may decide: {item['needs_role']} or above{four_eyes}, until {until} UTC",
        f"  approval {item['id']}",
    ]


_HEADINGS = {
    state: f"A call that was asked for is {state}"
    for state in ("approved", "rejected", "expired", "cancelled", "executing", "executed", "failed")
}


def _decision(item: Json) -> Iterator[str]:
    if item.get("decided_by") is not None:
        stead = f" in the stead of {one_line(item['decided_for'])}" if item.get("decided_for") is not None else ""
        yield f"  decided by: {one_line(item['decided_by'])}{stead}"
    if item.get("comment"):
        yield f"  comment: {one_line(item['comment'])}"


def _arguments(item: Json) -> Iterator[str]:
    """Each argument whole, since it is this that is agreed to."""
    comparison = cast("Json | None", item.get("comparison"))
    if comparison is None or "rows_left_out" in comparison:
        arguments = orjson.dumps(item["arguments"], option=orjson.OPT_INDENT_2).decode()
        yield from (f"    {line}" for line in shown(arguments).split("\n"))
        return
    rows = cast("list[Json]", comparison["rows"])
    width = max((len(shown(row["argument"])) for row in rows), default=0)
    for row in rows:
        yield from _row(row, width)
    last = cast("Json | None", comparison.get("last"))
    if last is None:
        yield "  compared with: nothing; no such call was made before, as far as you may see"
        return
    whose = (
        "the last that they made"
        if last["same_requester"]
        else f"the organization's last, by {one_line(last['made_by'])}"
    )
    differ = sum(row["change"] != "same" for row in rows)
    told = f"{differ} {'differs' if differ == 1 else 'differ'}" if differ else "nothing differs"
    yield f"  compared with: {whose}, {_minute(last['made_at'])} UTC; {told}"


def _row(row: Json, width: int) -> Iterator[str]:
    first, *more = _value(row["value"]).split("\n") if "value" in row else [""]
    was = f"  (was {one_line(row['last_value'])})" if "last_value" in row else ""
    yield f"  {MARKS.get(str(row.get('change')), ' ')} {shown(row['argument']):<{width}}  {first}{was}".rstrip()
    yield from (f"    {'':<{width}}  {line}" for line in more)


def _subjects(item: Json) -> Iterator[str]:
    """What the call names: it is this that is agreed to, as much as its words."""
    subjects = cast("Json | None", item.get("subjects"))
    if subjects is None or item.get("state") != "pending":
        return
    if not subjects["is_bound"]:
        yield "  what it names: was not kept when it was asked about; look whether it is still what it was"
        return
    for each in cast("list[Json]", subjects["items"]):
        changed = each["state"] == "changed"
        told = (
            "CHANGED since it was asked about; approved, the call would be refused"
            if changed
            else "as it was asked about"
        )
        yield f"  {shown(each['argument'])} names this {shown(str(each['subject']).replace('_', ' '))}, {told}:"
        words = cast("list[Json] | None", each.get("words"))
        if words is None:
            yield "    you may not see it, or it is gone"
            continue
        yield from (f"    {shown(word['name'])}: {one_line(word['value'])}" for word in words)
        if not each["is_whole"]:
            yield "    (cut)"
    if "left_out" in subjects:
        yield f"  and {subjects['left_out']} more"


def _value(value: object) -> str:
    return shown(value if isinstance(value, str) else orjson.dumps(value).decode())


def _minute(moment: object) -> str:
    return str(moment)[:16].replace("T", " ")

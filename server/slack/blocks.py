"""Messages laid out for Slack: an answer with its calls and citations, a question with its buttons, and its end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import orjson

from agent.citations import fault_words
from domain.approvals.comparison import ArgumentRow, Comparison
from domain.approvals.model import Approval, ApprovalItem
from domain.approvals.subjects import ShownSubjects
from server.slack.deliveries import APPROVE, COMMENT, COMMENT_BLOCK, REJECT, REJECTION
from server.slack.words import SECTION_CHARACTERS, cut, escaped, escaped_within, mrkdwn, shortened, visible

Json = dict[str, object]

CALLS_SHOWN = 15
CALL_CHARACTERS = 300
CALLS_CHARACTERS = 2000
CITATIONS_SHOWN = 10
CITATIONS_CHARACTERS = 1500
NOTE_CHARACTERS = 250
"""Of what stands below an answer, so that together with it Slack takes it: with its text at most some 12,000."""
ARGUMENTS_SHOWN = 20
VALUE_CHARACTERS = 600
ARGUMENT_CHARACTERS = 8000
"""Of all that is shown of a question's arguments."""
DIFFERENCES_SHOWN = 20
VALUE_SHOWN, DIFFERENCE_CHARACTERS = 120, 300
DIFFERENCES_CHARACTERS = 2000
"""Of what differs from the last like call; all of it stands in the browser."""
SUBJECTS_SHOWN, SUBJECT_VALUE_SHOWN, SUBJECT_CHARACTERS = 5, 300, 1200
SUBJECTS_CHARACTERS = 3000
"""Of what a question names; all of it stands in the browser."""
FALLBACK_CHARACTERS = 1000
"""Of the text that a notification shows."""
COMMENT_CHARACTERS = 1000
HEADER = {"executed": "Approved and done", "failed": "Approved, and failed", "rejected": "Rejected"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """What stands below an answer: the calls it made and the passages it cites."""

    calls: Sequence[Json] = ()
    citations: Sequence[Json] = ()
    notes: Sequence[str] = ()
    """Sentences of the hub's own."""

    def blocks(self) -> list[Json]:
        """Context blocks; a call's block carries its id."""
        made, room = list[Json](), CALLS_CHARACTERS
        for call in self.calls[:CALLS_SHOWN]:
            words = _call_words(call)
            room -= len(words)
            if room < 0:
                break
            made.append(context(words, block_id=f"call:{call.get('call_id')}"))
        if len(self.calls) > len(made):
            made.append(context(f"and {len(self.calls) - len(made)} calls more, which the record has"))
        cited = [_citation(citation) for citation in self.citations[:CITATIONS_SHOWN]]
        if len(self.citations) > CITATIONS_SHOWN:
            cited.append(f"and {len(self.citations) - CITATIONS_SHOWN} more")
        below = next(cut("\n".join(cited), CITATIONS_CHARACTERS), "")
        notes = [context(escaped_within(note, NOTE_CHARACTERS)) for note in self.notes]
        return [*made, *([context(below)] if below else []), *notes]


def context(text: str, block_id: str | None = None) -> Json:
    """Small print, in mrkdwn."""
    block: Json = {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}
    return block if block_id is None else {**block, "block_id": block_id}


def section(text: str) -> Json:
    """A paragraph, in mrkdwn."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def sections(markdown: str) -> list[Json]:
    """A text as paragraphs, in mrkdwn."""
    return [section(piece) for piece in cut(mrkdwn(markdown), SECTION_CHARACTERS) if piece.strip()]


def fallback(markdown: str) -> str:
    """What a notification shows of a text."""
    return escaped_within(markdown.strip() or "…", FALLBACK_CHARACTERS)


def call_block(call: Json) -> Json:
    """One call in one line: tool, outcome and, unless it was done, why; the block carries the call's id."""
    return context(_call_words(call), block_id=f"call:{call.get('call_id')}")


def _call_words(call: Json) -> str:
    words = f"`{call.get('tool')}` {call.get('outcome', 'going on')}"
    reasons = call.get("reasons")
    if call.get("outcome") not in ("done", None) and isinstance(reasons, list):
        words += f" ({', '.join(str(reason) for reason in cast('list[object]', reasons))})"
    return escaped_within(words, CALL_CHARACTERS)


def _citation(citation: Json) -> str:
    place = f"page {citation['page']}" if "page" in citation else str(citation.get("section", ""))
    words = f"[{citation.get('marker')}] *{_plain(citation.get('title'))}*"
    fault = fault_words(citation)
    where = (f", {_plain(place)}" if place else "") + f", characters {citation.get('start')}–{citation.get('end')}"
    return words + where + ("" if fault is None else f" :warning: {fault}")


def _plain(value: object) -> str:
    """Words of a document, without what Slack would read as emphasis or code."""
    return escaped(shortened(" ".join(str(value).split()), 200)).translate({ord(mark): None for mark in "*_~`"})


def question_blocks(
    item: ApprovalItem,
    url: str,
    comparison: Comparison | None = None,
    heading: str = "A person decides this",
    subjects: ShownSubjects | None = None,
) -> list[Json]:
    """A question with its buttons, whose value is the approval's id and nothing else.

    `comparison`: what of it differs from the last like call stands below its arguments. `heading`: the hub's own words.
    `subjects`: what it names, as the reader sees it.

    What is not shown whole can be rejected here, and approved only where it can be read.
    """
    approval = item.approval
    value = str(approval.approval_id)
    approve = _button("Approve", APPROVE, value, "primary")
    buttons = [*([approve] if _Shown.of(approval).is_whole else []), _button("Reject", REJECT, value, "danger")]
    who = f"Who may decide: {approval.needs_role} or above"
    who += ", and not whoever asked" if approval.four_eyes else ""
    until = f"until {approval.expires_at:%Y-%m-%d %H:%M} UTC"
    return [
        *_asked(item, f"*{heading}*"),
        *([] if subjects is None else _named(subjects)),
        *([] if comparison is None else _compared(comparison)),
        {"type": "actions", "block_id": "decide", "elements": buttons},
        context(f"{who}, {until} · <{url}|open it in the browser>"),
    ]


def _named(subjects: ShownSubjects) -> Iterator[Json]:
    """What the call names, each in its own words, letter by letter."""
    if not subjects.is_bound:
        yield context("What it names was not kept when it was asked about: look whether it is still what it was.")
        return
    room = SUBJECTS_CHARACTERS
    for each in subjects.subjects[:SUBJECTS_SHOWN]:
        kind = each.subject.replace("_", " ")
        told = "*changed since it was asked about: approved, it would be refused*" if each.state == "changed" else ""
        if each.seen is None:
            told = told or "you may not see it, or it is gone"
        yield context(f"`{escaped(visible(each.argument))}` names this {escaped(kind)}" + (f", {told}" if told else ""))
        if each.seen is not None and room > 0:
            lines = [
                f"{visible(name)}: {shortened(visible(value), SUBJECT_VALUE_SHOWN)}" for name, value in each.seen.words
            ]
            words = shortened("\n".join(lines), min(SUBJECT_CHARACTERS, room))
            room -= len(words)
            yield _literal(kind, words or " ")
    left_out = subjects.left_out + max(0, len(subjects.subjects) - SUBJECTS_SHOWN)
    if left_out:
        yield context(f"and {left_out} more, which stand in the browser")


def _compared(comparison: Comparison) -> Iterator[Json]:
    """What differs from the last like call, letter by letter."""
    last, differing = comparison.last, comparison.differing
    if last is None:
        return
    whose = "the last that they made" if last.same_requester else f"the organization's last, by {last.made_by}"
    told = f"Compared with {whose}, {last.made_at:%Y-%m-%d %H:%M} UTC: "
    yield context(escaped(told + (f"{len(differing)} of {len(comparison.rows)} differ" if differing else "the same")))
    shown, room = list[str](), DIFFERENCES_CHARACTERS
    for row in differing[:DIFFERENCES_SHOWN]:
        shown.append(shortened(_difference(row), min(DIFFERENCE_CHARACTERS, max(room, 1))))
        room -= len(shown[-1])
    if shown:
        yield _literal("What differs", "\n".join(shown))


def _difference(row: ArgumentRow) -> str:
    now = "is left out" if row.change == "removed" else shortened(_letters(row.value), VALUE_SHOWN)
    was = "was not given" if row.change == "added" else f"was {shortened(_letters(row.last_value), VALUE_SHOWN)}"
    return f"{visible(row.argument)}: {now} ({was})"


def decided_blocks(item: ApprovalItem, call: Json | None = None) -> list[Json]:
    """The same question once it is answered: no buttons, and what became of it; `call`: the decision, made here."""
    approval = item.approval
    words = HEADER.get(approval.state, approval.state.capitalize())
    if item.decided_by is not None:
        words += f" by {escaped(item.decided_by)}"
    if item.decided_for is not None:
        words += f" in the stead of {escaped(item.decided_for)}"
    comment = f": {escaped_within(approval.comment, COMMENT_CHARACTERS)}" if approval.comment else ""
    return [*_asked(item, f"*{words}*{comment}"), *([] if call is None else [call_block(call)])]


def _asked(item: ApprovalItem, heading: str) -> Iterator[Json]:
    approval = item.approval
    set_up = f", set up by {escaped(', '.join(item.set_up_by))}" if item.set_up_by else ""
    yield section(f"{heading}\n`{escaped(approval.tool)}`, asked for by {escaped(item.requested_by)}{set_up}")
    shown = _Shown.of(approval)
    yield from (_literal(name, text) for name, text in shown.arguments)
    if not shown.is_whole:
        yield context("*Not all of it is shown here: open it in the browser to approve it.*")
    if approval.reasons:
        yield context("Why it is asked: " + escaped(", ".join(approval.reasons)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What is approved is exactly this: each argument letter by letter, so that none can pose as another."""

    arguments: Sequence[tuple[str, str]]
    is_whole: bool

    @classmethod
    def of(cls, approval: Approval) -> "_Shown":
        """As much of the arguments as a message takes."""
        arguments = cast("Mapping[str, object]", orjson.loads(approval.arguments))
        whole = {visible(name): _letters(value) for name, value in arguments.items()}
        shown, room = list[tuple[str, str]](), ARGUMENT_CHARACTERS
        for name, text in list(whole.items())[:ARGUMENTS_SHOWN]:
            shown.append((name, shortened(text, min(VALUE_CHARACTERS, max(room, 1)))))
            room -= len(name) + len(shown[-1][1])
        return cls(arguments=shown, is_whole=shown == list(whole.items()))


def _letters(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return visible(text) or " "


def _literal(name: str, value: str) -> Json:
    """Rich text, in which nothing is a sign of formatting."""
    return {
        "type": "rich_text",
        "elements": [
            {"type": "rich_text_section", "elements": [{"type": "text", "text": name, "style": {"bold": True}}]},
            {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": value}]},
        ],
    }


def _button(text: str, action_id: str, value: str, style: str) -> Json:
    return {
        "type": "button",
        "action_id": action_id,
        "text": {"type": "plain_text", "text": text},
        "value": value,
        "style": style,
    }


def rejection_view(approval_id: str, channel_id: str, message_ts: str, thread_ts: str) -> Json:
    """The form that asks why a question is rejected."""
    about = {"approval_id": approval_id, "channel_id": channel_id, "message_ts": message_ts, "thread_ts": thread_ts}
    return {
        "type": "modal",
        "callback_id": REJECTION,
        "private_metadata": orjson.dumps(about).decode(),
        "title": {"type": "plain_text", "text": "Reject"},
        "submit": {"type": "plain_text", "text": "Reject"},
        "close": {"type": "plain_text", "text": "Back"},
        "blocks": [
            {
                "type": "input",
                "block_id": COMMENT_BLOCK,
                "optional": True,
                "label": {"type": "plain_text", "text": "Why? Shown to whoever asked."},
                "element": {
                    "type": "plain_text_input",
                    "action_id": COMMENT,
                    "multiline": True,
                    "max_length": 2000,
                },
            }
        ],
    }

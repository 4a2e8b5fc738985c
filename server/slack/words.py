"""Text to and from Slack, so that nothing a model or a document says pings anybody or poses as Slack's own.

Streams take Markdown, blocks take Slack's own mrkdwn. In both `&`, `<` and `>` are written as entities, so that a
model's `<!channel>` or `<@U...>` is text. The translator knows emphasis, headings, lists, quotes, links and code;
tables and images stay as they are written.
"""

import re
import unicodedata
from collections.abc import Iterator

SECTION_CHARACTERS = 2900
"""Of 3,000 that a section block takes."""
MESSAGE_CHARACTERS = 7500
"""Of one message's text, escaped: settled, it and what stands below it must fit into some 12,000."""

ROOM_TO_SPEAK_OF = 100

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control and format characters, and what separates lines without looking like it."""
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters that take room and are not seen."""

_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
_MENTION = re.compile(r"<([@#!])([^>|]*)(?:\|([^>]*))?>")
_LINK = re.compile(r"<((?:https?|mailto)[^>|]*)(?:\|([^>]*))?>")


def escaped(text: str) -> str:
    """Text in which nothing is a mention, a link or a tag."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def heard(text: str, bot_user_id: str) -> str:
    """What a person wrote: without the mention of the hub, links as their addresses, entities as characters."""
    text = text.replace(f"<@{bot_user_id}>", " ")
    text = _MENTION.sub(lambda found: {"!": "@"}.get(found[1], found[1]) + (found[3] or found[2]), text)
    text = _LINK.sub(lambda found: found[1].removeprefix("mailto:"), text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()


def mrkdwn(markdown: str) -> str:
    """Markdown as Slack's mrkdwn, escaped."""
    pieces = _CODE.split(markdown)
    return "".join(_code(piece) if place % 2 else _prose(piece) for place, piece in enumerate(pieces))


def _code(text: str) -> str:
    if text.startswith("```"):
        text = re.sub(r"\A```[\w+-]*\n", "```\n", text)
    return escaped(text)


def _prose(text: str) -> str:
    text = escaped(text.replace("\x01", ""))
    # A bold's stars are set aside, or they would be read as emphasis.
    text = re.sub(r"\*\*(?=\S)(.+?)(?<=\S)\*\*|__(?=\S)(.+?)(?<=\S)__", _bold, text)
    text = re.sub(r"(?<![\w*])\*(?=[^\s*])([^*\n]+?)(?<=\S)\*(?![\w*])", r"_\1_", text)
    text = re.sub(r"~~(?=\S)(.+?)(?<=\S)~~", r"~\1~", text)
    text = re.sub(r"(?m)^#{1,6}[ \t]+(.+?)[ \t]*#*$", _heading, text)
    text = re.sub(r"(?m)^([ \t]*)[-*+][ \t]+", r"\1• ", text)
    text = re.sub(r"(?m)^&gt; ?", "> ", text)
    text = re.sub(r"(?<!!)\[([^\]\n]+)\]\((https?://[^\s()|]+)\)", _link, text)
    return text.replace("\x01", "*")


def _link(found: "re.Match[str]") -> str:
    """A link shows where it leads, whatever its label says."""
    return f"<{found[2]}>" if found[1] == found[2] else f"{found[1]} (<{found[2]}>)"


def unlinked(markdown: str) -> str:
    """Markdown whose links show where they lead: no label stands for an address.

    The beginning of a text gives the beginning of what the text gives, wherever it is cut.
    """
    return markdown.replace("](", "] (").replace("]:", "] :")


def _bold(found: "re.Match[str]") -> str:
    return f"\x01{found[1] or found[2]}\x01"


def _heading(found: "re.Match[str]") -> str:
    """Slack has no headings: in bold, once."""
    return "\x01" + found[1].replace("\x01", "") + "\x01"


def cut(text: str, limit: int) -> Iterator[str]:
    """The text in pieces of at most `limit` characters, cut at a paragraph, line or word where there is one.

    Nothing is lost: joined, the pieces are the text again. An entity is never cut in two.
    """
    while len(text) > limit:
        place = _place(text, limit)
        yield text[:place]
        text = text[place:]
    if text:
        yield text


def _place(text: str, limit: int) -> int:
    for mark in ("\n\n", "\n", " "):
        place = text.rfind(mark, limit // 2, limit)
        if place > 0:
            return place + len(mark)
    entity = text.rfind("&", limit - 5, limit)
    return entity if entity > 0 and ";" not in text[entity:limit] else limit


def fitting_pieces(text: str, room: int) -> Iterator[str]:
    """The text in pieces that are, escaped, at most `room` characters long; joined, the text again."""
    while text:
        piece = fitting(text, room)
        yield piece
        text = text[len(piece) :]


def fitting(text: str, room: int) -> str:
    """The beginning of the text, escaped at most `room` characters long; empty where there is no room to speak of."""
    piece = next(cut(text, room), "") if room > ROOM_TO_SPEAK_OF else ""
    while len(escaped(piece)) > room:
        piece = piece[: len(piece) // 2]
    return piece


def escaped_within(text: str, limit: int) -> str:
    """The text escaped and, so written, at most so many characters; a sign where some are missing."""
    whole = escaped(text)
    return whole if len(whole) <= limit else next(cut(whole, limit - 1)) + "…"


def visible(text: str) -> str:
    """The text with every character that is not seen, or turns the direction of others, as its code point."""
    return "".join(f"⟨U+{ord(each):04X}⟩" if _is_unseen(each) else each for each in text)


def _is_unseen(character: str) -> bool:
    if character.isprintable():
        return character in _FILLERS
    return character not in "\n\t" and unicodedata.category(character) in _UNSEEN


def shortened(text: str, limit: int) -> str:
    """At most so many characters, and a sign where some are missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"

"""A link says what it was sealed with, to whoever knows the same secret, until its time is over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from domain.kernel import CallId
from server.links import FileLink, FileLinks, LinkRefused
from tests.support.gates import principal_of

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SECRET = "a secret of tests, 32 bytes long or more"


def links(at: datetime = AT, secret: str = SECRET) -> FileLinks:
    return FileLinks(secret, lambda: at)


def a_link() -> FileLink:
    return FileLink(
        principal=principal_of(who="client", mode="person", door="rest"),
        document_id=uuid4(),
        content_sha256="ab" * 32,
        filename='Brief "ä"\u202e.pdf',
        made_by=CallId(uuid4()),
        expires_at=AT + timedelta(seconds=300),
    )


def test_a_link_is_read_as_it_was_sealed_to_its_last_second() -> None:
    link = a_link()
    assert links(AT + timedelta(seconds=299)).open(links().seal(link)) == link
    with pytest.raises(LinkRefused, match="expired"):
        links(AT + timedelta(seconds=300)).open(links().seal(link))


def test_a_link_of_another_installation_opens_nothing() -> None:
    with pytest.raises(LinkRefused, match="not made here"):
        links(secret=SECRET[::-1]).open(links().seal(a_link()))


def test_each_thing_that_a_link_says_is_sealed() -> None:
    link = a_link()
    other = replace(
        link,
        principal=principal_of(who="partner", mode="agent", door="widget"),
        document_id=uuid4(),
        content_sha256="cd" * 32,
        filename="x",
        made_by=CallId(uuid4()),
        expires_at=AT + timedelta(days=1),
    )
    _, _, seal = links().seal(link).partition(".")
    for name in ("principal", "document_id", "content_sha256", "filename", "made_by", "expires_at"):
        changed, _, _ = links().seal(replace(link, **{name: getattr(other, name)})).partition(".")
        with pytest.raises(LinkRefused, match="changed"):
            links().open(f"{changed}.{seal}")


@pytest.mark.parametrize("text", ["", ".", "a", "a.b", "\u20ac.\u20ac", "." + "0" * 64, "\ud800"])
def test_what_is_no_link_is_refused_in_words(text: str) -> None:
    with pytest.raises(LinkRefused, match="not made here"):
        links().open(text)

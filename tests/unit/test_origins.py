"""Origins: written as browsers write them, and nothing that is more, less or other than one."""

import pytest

from server.origins import NotAnOrigin, origin_named, origin_of


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://hub.example", "https://hub.example"),
        ("https://Hub.Example:443/chat/", "https://hub.example"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/x", "http://[::1]:8000"),
    ],
)
def test_origin_of_an_address_is_what_a_browser_would_send(address: str, origin: str) -> None:
    assert origin_of(address) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "*",
        "https://*.example.com",
        "https://",
        "ftp://files.example",
        "javascript:alert(1)",
        "https://hub.example/path",
        "https://hub.example?x=1",
        "https://hub.example#x",
        "https://somebody@hub.example",
        "https://hub.example:port",
        "https://hub.example https://other.example",
        "https://hüb.example",
        "hub.example",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(NotAnOrigin):
        origin_named(text)

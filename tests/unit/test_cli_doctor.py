"""What the doctor says of this machine and of the model, each told by a small server of the test's own."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from server.cli.main import main
from server.doctor.models import model_finding
from server.settings import ModelServer
from tests.support.environment import JWT_SECRET, bare_environment, unused_port
from tests.support.fake_drive import person_credentials, robot_credentials
from tests.support.issuer import key

TOKEN_URL = "https://oauth2.googleapis.com/token"
READY = {"database": "ok", "migrations": "ok", "model": "offline", "worker": "ok"}


class Answers(ThreadingHTTPServer):
    """Answers every request alike."""

    status = 200
    body = b""
    post_status = 400
    post_body = b""
    keys: list[str | None]


class Handler(BaseHTTPRequestHandler):
    """Gives what its server was told to give."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Answers)
        server.keys.append(self.headers["Authorization"])
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        self.wfile.write(server.body)

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Answers)
        self.send_response(server.post_status)
        self.send_header("Content-Length", str(len(server.post_body)))
        self.end_headers()
        self.wfile.write(server.post_body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody looks."""


@pytest.fixture
def answers() -> Iterator[Answers]:
    """A server on a loopback port."""
    with Answers(("127.0.0.1", 0), Handler) as server:
        server.keys = []
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return unused_port()


@pytest.fixture(autouse=True)
def installation(tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An installation that was never started, with a secret."""
    with bare_environment(tmp_path) as monkeypatch:
        monkeypatch.setenv("GLOW_JWT_SECRET", JWT_SECRET)
        yield monkeypatch


def examined(capsys: pytest.CaptureFixture[str], port: int) -> dict[str, dict[str, str]]:
    """The findings by their part; the exit code agrees with them."""
    code = main(["doctor", "--port", str(port), "--json"])
    found = {item["part"]: item for item in json.loads(capsys.readouterr().out)["items"]}
    assert code == any(item["state"] == "wrong" for item in found.values())
    return found


def test_an_installation_that_was_never_started_is_examined_without_being_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, free_port: int
) -> None:
    found = examined(capsys, free_port)
    assert found["home"]["state"] == found["database"]["state"] == found["model"]["state"] == "note"
    assert not (tmp_path / "home").exists()


def configured(installation: pytest.MonkeyPatch, folder: Path, *accounts: dict[str, str]) -> None:
    config = folder / "system.yaml"
    config.write_text(json.dumps({"sources": {"google_accounts": accounts}}))
    installation.setenv("SYSTEM_CONFIG_PATH", str(config))


@pytest.mark.parametrize(
    ("content", "state", "said"),
    [
        (lambda: robot_credentials(TOKEN_URL), "ok", "of 1 accounts can be used"),
        (lambda: person_credentials(TOKEN_URL), "ok", "of 1 accounts can be used"),
        (lambda: None, "wrong", "No such file"),
        (lambda: "no JSON: hidden", "wrong", "it is not JSON"),
        (lambda: '{"type": "service_account", "client_email": "a@b.example"}', "wrong", "private_key"),
        (lambda: robot_credentials(TOKEN_URL).replace("BEGIN", "hidden"), "wrong", "none of RSA in PEM"),
    ],
    ids=["a robot's", "a person's", "none", "no JSON", "no key", "a broken key"],
)
def test_the_credentials_of_googles_accounts_are_looked_at_and_none_of_them_is_shown(
    capsys: pytest.CaptureFixture[str],
    installation: pytest.MonkeyPatch,
    tmp_path: Path,
    free_port: int,
    content: Callable[[], str | None],
    state: str,
    said: str,
) -> None:
    file = tmp_path / "drive.json"
    if (held := content()) is not None:
        file.write_text(held)
    configured(installation, tmp_path, {"name": "office", "organization": "acme-audit", "file": str(file)})
    found = examined(capsys, free_port)
    assert found["google"]["state"] == state
    assert said in found["google"]["says"]
    assert "hidden" not in json.dumps(found)


def test_wherever_the_credentials_of_a_google_account_should_lie_their_want_is_told(
    capsys: pytest.CaptureFixture[str], installation: pytest.MonkeyPatch, tmp_path: Path, free_port: int
) -> None:
    assert "google" not in examined(capsys, free_port)
    vaulted = {"name": "tax", "organization": "borealis-tax", "vault": "secret/glow/drive"}
    configured(installation, tmp_path, vaulted)
    found = examined(capsys, free_port)["google"]
    assert (found["state"], "VAULT_ADDR" in found["says"]) == ("wrong", True)
    configured(installation, tmp_path, {"name": "office", "organization": "acme-audit"})
    assert "GLOW_GOOGLE_CREDENTIALS" in examined(capsys, free_port)["google"]["says"]
    person = person_credentials(TOKEN_URL)
    installation.setenv("GLOW_GOOGLE_CREDENTIALS", person)
    assert examined(capsys, free_port)["google"]["state"] == "ok"
    eyes = {"name": "office", "organization": "acme-audit", "impersonate": "partner@acme.example"}
    configured(installation, tmp_path, eyes)
    assert "no other's eyes" in examined(capsys, free_port)["google"]["says"]


@pytest.mark.parametrize(
    ("status", "body", "state", "said"),
    [
        (200, b'{"data": [{"id": "wise-1"}]}', "ok", "wise-1 at"),
        (200, b'{"data": [{"id": "other"}]}', "wrong", "has no model wise-1"),
        (200, b"no list", "ok", "wise-1 at"),
        (200, b'{"models": []}', "ok", "wise-1 at"),
        (404, b"", "ok", "wise-1 at"),
        (401, b"", "wrong", "refuses the key"),
        (503, b"", "wrong", "answers with status 503"),
    ],
)
def test_a_model_is_asked_for_by_name_and_key(
    capsys: pytest.CaptureFixture[str],
    installation: pytest.MonkeyPatch,
    answers: Answers,
    free_port: int,
    status: int,
    body: bytes,
    state: str,
    said: str,
) -> None:
    answers.status, answers.body = status, body
    installation.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{answers.server_port}/v1")
    installation.setenv("OPENAI_API_KEY", "sk-hidden")
    installation.setenv("GLOW_MODEL", "wise-1")
    found = examined(capsys, free_port)["model"]
    assert found["state"] == state
    assert said in found["says"]
    assert "sk-hidden" not in json.dumps(found)
    assert answers.keys == ["Bearer sk-hidden"]


@pytest.mark.parametrize(
    ("listed", "state", "said"),
    [
        (["wise-1", "wise-2"], "ok", "wise-1 at"),
        (["wise-1"], "wrong", "has no model wise-2, which agents want"),
        ([], "ok", "wise-1 at"),
    ],
)
async def test_the_models_that_agents_want_are_asked_for_too(
    answers: Answers, listed: list[str], state: str, said: str
) -> None:
    answers.body = json.dumps({"data": [{"id": name} for name in listed]}).encode()
    hosted = ModelServer(
        name="wise-1",
        api="chat_completions",
        api_key=None,
        base_url=f"http://127.0.0.1:{answers.server_port}/v1",
        timeout_s=5,
        stall_s=5,
    )
    found = await model_finding(hosted, ("wise-2",))
    assert found.state == state
    assert said in found.says


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        (400, "ok", "(responses)"),
        (401, "ok", "(responses)"),
        (404, "wrong", "has no Responses API"),
        (405, "wrong", "has no Responses API"),
    ],
)
def test_a_server_without_the_responses_api_is_named_when_that_is_asked_for(
    capsys: pytest.CaptureFixture[str],
    installation: pytest.MonkeyPatch,
    answers: Answers,
    free_port: int,
    status: int,
    state: str,
    said: str,
) -> None:
    answers.post_status = status
    installation.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{answers.server_port}/v1")
    installation.setenv("GLOW_MODEL", "wise-1")
    installation.setenv("GLOW_MODEL_API", "responses")
    found = examined(capsys, free_port)["model"]
    assert found["state"] == state
    assert said in found["says"]


@pytest.mark.parametrize(
    ("body", "state", "said"),
    [
        (READY, "note", "a hub runs at"),
        ({**READY, "worker": "unavailable"}, "wrong", "without its worker"),
        (None, "wrong", "Address already in use"),
    ],
)
def test_a_port_that_is_taken_by_a_hub_is_told_from_one_that_is_taken_by_anything_else(
    capsys: pytest.CaptureFixture[str], answers: Answers, body: dict[str, str] | None, state: str, said: str
) -> None:
    if body is not None:
        dependencies = {name: {"state": state} for name, state in body.items()}
        answers.body = json.dumps({"status": "ready", "dependencies": dependencies}).encode()
    found = examined(capsys, answers.server_port)["port"]
    assert found["state"] == state
    assert said in found["says"]


@pytest.mark.parametrize(
    ("status", "keys", "state", "said"),
    [
        (200, [key("doctor").public], "ok", "1 keys of"),
        (200, [], "wrong", "no key for RS256 or ES256"),
        (500, [], "wrong", "cannot be fetched"),
    ],
)
def test_an_issuers_keys_are_fetched_and_that_nothing_is_signed_here_is_said(
    capsys: pytest.CaptureFixture[str],
    installation: pytest.MonkeyPatch,
    answers: Answers,
    free_port: int,
    status: int,
    keys: list[dict[str, object]],
    state: str,
    said: str,
) -> None:
    answers.status, answers.body = status, json.dumps({"keys": keys}).encode()
    installation.delenv("GLOW_JWT_SECRET")
    installation.setenv("GLOW_JWKS_URL", f"http://127.0.0.1:{answers.server_port}/jwks.json")
    installation.setenv("GLOW_JWT_ISSUER", "https://sign-in.example")
    installation.setenv("GLOW_JWT_AUDIENCE", "authenticated")
    found = examined(capsys, free_port)
    assert (found["issuer"]["state"], found["tokens"]["state"]) == (state, "note")
    assert said in found["issuer"]["says"]


def test_no_token_is_signed_where_they_come_from_an_issuer(
    capsys: pytest.CaptureFixture[str], installation: pytest.MonkeyPatch
) -> None:
    installation.delenv("GLOW_JWT_SECRET")
    installation.setenv("GLOW_JWKS_URL", "https://sign-in.example/jwks.json")
    installation.setenv("GLOW_JWT_ISSUER", "https://sign-in.example")
    installation.setenv("GLOW_JWT_AUDIENCE", "authenticated")
    assert main(["token", "--organization", "acme-audit", "--user", "partner@acme.example"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "no token can be signed here: they come from https://sign-in.example" in told.err


def test_without_slacks_settings_the_doctor_says_how_to_have_it(
    capsys: pytest.CaptureFixture[str], free_port: int
) -> None:
    assert "no Slack app" in examined(capsys, free_port)["slack"]["says"]


def test_a_bot_token_that_slack_refuses_is_found(
    installation: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answers: Answers, free_port: int
) -> None:
    answers.post_status = 200
    installation.setenv("SLACK_BOT_TOKEN", "xoxb-hidden")
    installation.setenv("SLACK_SIGNING_SECRET", "hidden")
    installation.setenv("SLACK_API_BASE_URL", f"http://127.0.0.1:{answers.server_port}/api")
    for body, state, says in (
        (b'{"ok": false, "error": "invalid_auth"}', "wrong", "invalid_auth"),
        (b'{"ok": true, "team_id": "T1", "team": "Acme", "user_id": "U1"}', "ok", "installed in Acme (T1)"),
        (b"<html>", "wrong", "could not be reached"),
    ):
        answers.post_body = body
        finding = examined(capsys, free_port)["slack"]
        assert (finding["state"], says in finding["says"]) == (state, True), finding
        assert "hidden" not in str(finding)

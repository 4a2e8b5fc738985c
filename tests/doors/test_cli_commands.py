"""`glow` on a real database: each act passes the gate by the door `cli`, as the hand it names, and tells its end."""

import base64
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from domain.kernel import utc_now
from domain.resources import resource_folder
from server.cli.main import main
from server.cli.tokens import signer_of
from server.database.connection import connected
from server.database.embedded import EmbeddedServer
from server.database.pool import open_pools
from server.database.sendings import PostgresSendings
from server.demo.loader import found_demo
from server.heads.places import HeadSecrets, places_of
from server.logins import Login
from server.settings import load_settings
from server.system_config import read_system_config
from server.worker.heads import HeadWorker
from tests.support.database import Database, bare_database, fresh_database, run_apart
from tests.support.environment import bare_environment, external, unused_port
from tests.support.fake_embeddings import served_embeddings
from tests.support.ledger import KEY, OTHER_KEY, seal
from tests.support.office import packed, paragraph, word

ACME = ("--organization", "acme-audit")
EMPLOYEE = ("--user", "employee@acme.example")
READONLY = ("--user", "readonly@acme.example")


class Glow:
    """Runs commands and keeps what they printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *words: str) -> int:
        self._capsys.readouterr()
        code = main(words)
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code

    @property
    def json(self) -> Any:
        """What was printed, parsed."""
        return json.loads(self.out)


@pytest.fixture(scope="module")
def firm(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    """A database with the demo firm's people and tasks, for this module to share."""
    with fresh_database(cluster, template) as database:
        run_apart(_found(database))
        yield database


@pytest.fixture
def installation(firm: Database, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An installation whose database is the firm's."""
    with bare_environment(tmp_path) as monkeypatch:
        for name, value in external(firm).items():
            monkeypatch.setenv(name, value)
        yield monkeypatch


@pytest.fixture
def glow(installation: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Glow:
    """The command, run in this process."""
    return Glow(capsys)


@pytest.fixture
def free_port() -> str:
    """A port that nobody listens on."""
    return str(unused_port())


async def _found(database: Database) -> None:
    async with connected(database.dsn(Login.OWNER)) as owner:
        await found_demo(owner, resource_folder("demo"), utc_now())


def last_call(database: Database, tool: str) -> dict[str, Any]:
    """The newest event of a tool, as the record has it."""

    async def ask() -> dict[str, Any]:
        async with connected(database.dsn("postgres")) as connection:
            row = await connection.fetchrow(
                "SELECT door, mode, attended, outcome, error_code FROM activity_events WHERE tool = $1 "
                "ORDER BY occurred_at DESC, outcome IS NULL LIMIT 1",
                tool,
            )
        assert row is not None
        return dict(row)

    return run_apart(ask())


# Tokens ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("audience", ["api", "mcp", "widget"])
def test_a_token_speaks_for_its_person_in_its_organization_alone(glow: Glow, audience: str) -> None:
    assert glow("token", *ACME, *EMPLOYEE, "--for", audience) == 0
    credential = signer_of(load_settings()).read(glow.out.strip())
    assert (credential.audience, credential.organization) == (audience, "acme-audit")
    assert 3590 < (credential.expires_at - utc_now()).total_seconds() <= 3600


def test_a_token_is_for_an_api_unless_said_otherwise(glow: Glow) -> None:
    assert glow("token", *ACME, *EMPLOYEE, "--expires", "2d") == 0
    credential = signer_of(load_settings()).read(glow.out.strip())
    assert credential.audience == "api"
    assert credential.expires_at.timestamp() - utc_now().timestamp() > 47 * 3600


@pytest.mark.parametrize(
    ("organization", "user"),
    [
        ("acme-audit", "employee@borealis.example"),
        ("acme-audit", "nobody@acme.example"),
        ("no-such-firm", "employee@acme.example"),
    ],
)
def test_nobody_gets_a_token_for_a_firm_that_is_not_theirs(glow: Glow, organization: str, user: str) -> None:
    assert glow("token", "--organization", organization, "--user", user) == 1
    assert glow.out == ""
    assert user in glow.err


def test_without_a_secret_there_are_no_tokens_but_searching_goes_on(
    glow: Glow, installation: pytest.MonkeyPatch
) -> None:
    installation.delenv("GLOW_JWT_SECRET")
    assert glow("token", *ACME, *EMPLOYEE) == 1
    assert "GLOW_JWT_SECRET" in glow.err
    assert glow("search", "anything", *ACME) == 0


# Ingesting and searching ----------------------------------------------------------------------------------------------


def test_what_is_ingested_can_be_searched_at_once_with_what_pins_it_down(glow: Glow, tmp_path: Path) -> None:
    note = tmp_path / "zebra note.md"
    note.write_text("# Zebras\n\nThe zebra clause is renewed in May by the keeper.\n", encoding="utf-8")
    assert glow("ingest", str(note), *ACME, *EMPLOYEE) == 0
    assert glow.out == f"ready    {note}\n1 of 1 can be searched now.\n"
    assert glow("search", "zebra clause", *ACME, *READONLY, "--json") == 0
    (passage, *_) = glow.json["items"]
    assert passage["title"] == "zebra note.md"
    assert "renewed in May" in passage["text"]
    assert glow("search", "zebra clause", *ACME) == 0
    assert f"1. zebra note.md, Zebras, characters {passage['start']}-{passage['end']}" in glow.out


def test_whose_words_a_document_holds_is_said_anew_by_its_uploader(glow: Glow, firm: Database, tmp_path: Path) -> None:
    note = tmp_path / "okapi note.md"
    note.write_text("# Okapis\n\nThe okapi clause is the firm's own.\n", encoding="utf-8")
    assert glow("ingest", str(note), *ACME, *EMPLOYEE, "--json") == 0
    document_id = glow.json["items"][0]["document_id"]
    say = ("documents", "trust", document_id)
    assert glow(*say, "internal", *ACME, *READONLY) == 1
    assert "role_too_low" in glow.err
    assert glow(*say, "internal", *ACME, *EMPLOYEE) == 0
    assert glow.out == f"{document_id} (okapi note.md): internal.\n"
    assert last_call(firm, "document_trust_set") == {
        "door": "cli",
        "mode": "person",
        "attended": True,
        "outcome": "done",
        "error_code": None,
    }
    assert glow("search", "okapi clause", *ACME, *READONLY, "--json") == 0
    assert glow.json["items"][0]["trust"] == "internal"
    assert glow(*say, "client", *ACME, *EMPLOYEE, "--json") == 0
    assert glow.json["result"]["document"]["trust"] == "client"
    assert glow(*say, "mine", *ACME, *EMPLOYEE) == 2
    assert glow(*say, "internal", *ACME) == 2


def test_a_folder_is_ingested_whole_and_each_file_is_reported(glow: Glow, tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    for name, content in {
        "a.txt": b"plain words about walruses",
        "deep/b.html": b"<!doctype html><h1>Walrus</h1><p>Its tusks are ivory.</p>",
        "deep/c.docx": b"PK\x03\x04 an archive",
        "deep/d.pdf": b"%PDF-1.4 broken",
        "deep/e.docx": word(paragraph("Walrus tusks are ivory.")),
        "deep/f.csv": b"Animal;Tusks\nWalrus;2\n",
        "empty.txt": b"",
        ".hidden/e.txt": b"not meant",
        ".f.txt": b"not meant either",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "link.txt").symlink_to("/etc/hostname")
    assert glow("ingest", str(folder), str(folder / "a.txt"), *ACME, *EMPLOYEE, "--json") == 1
    ended = {str(Path(item["path"]).relative_to(folder)): item["status"] for item in glow.json["items"]}
    assert ended == {
        "a.txt": "ready",
        "deep/b.html": "ready",
        "deep/c.docx": "refused",
        "deep/d.pdf": "failed",
        "deep/e.docx": "ready",
        "deep/f.csv": "ready",
        "empty.txt": "refused",
    }
    assert all("reason" in item for item in glow.json["items"] if item["status"] != "ready")


def test_an_upload_leaves_no_job_behind_that_would_index_it_again(glow: Glow, firm: Database, tmp_path: Path) -> None:
    note = tmp_path / "once.txt"
    note.write_text("indexed once", encoding="utf-8")
    assert glow("ingest", str(note), *ACME, *EMPLOYEE) == 0

    async def queued() -> int:
        async with connected(firm.dsn("postgres")) as connection:
            return cast(int, await connection.fetchval("SELECT count(*) FROM queue.pgqueuer"))

    assert run_apart(queued()) == 0


def test_a_refused_upload_says_by_which_rule_and_exits_with_1(glow: Glow, firm: Database, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("words", encoding="utf-8")
    assert glow("ingest", str(note), *ACME, *READONLY) == 1
    assert "role_too_low" in glow.err
    assert glow.out == "0 of 1 can be searched now.\n"
    assert last_call(firm, "document_upload")["outcome"] == "denied"


def test_an_empty_folder_is_no_success(glow: Glow, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert glow("ingest", str(tmp_path / "empty"), *ACME, *EMPLOYEE) == 1
    assert "no file" in glow.err


def test_a_search_that_finds_nothing_says_so_and_is_done(glow: Glow) -> None:
    assert glow("search", "xylophonequartz", *ACME, *EMPLOYEE) == 0
    assert glow.out == "Nothing was found.\n"


# Calling --------------------------------------------------------------------------------------------------------------


def test_a_call_by_hand_is_a_person_s_at_the_door_cli(glow: Glow, firm: Database) -> None:
    assert glow("tools", "call", "task_create", *ACME, *EMPLOYEE, "--arguments", '{"title": "by hand"}') == 0
    assert glow.json["task"]["created_by"] == "employee@acme.example"
    assert last_call(firm, "task_create") == {
        "door": "cli",
        "mode": "person",
        "attended": True,
        "outcome": "done",
        "error_code": None,
    }


def test_a_call_without_a_user_is_the_service_account_s_an_unattended_agent_s(glow: Glow, firm: Database) -> None:
    assert glow("tools", "call", "task_list", *ACME, "--json") == 0
    assert glow.json["outcome"] == "done"
    called = last_call(firm, "task_list")
    assert (called["door"], called["mode"], called["attended"]) == ("cli", "agent", False)


def test_a_dry_run_tells_the_verdict_and_does_nothing(glow: Glow) -> None:
    words = ("tools", "call", "task_create", *ACME, *EMPLOYEE, "--arguments", '{"title": "never"}', "--dry-run")
    assert glow(*words, "--json") == 0
    assert glow.json["outcome"] == "dry_run"
    assert glow("tools", "call", "task_list", *ACME, *EMPLOYEE) == 0
    assert "never" not in [task["title"] for task in glow.json["items"]]


@pytest.mark.parametrize(
    ("words", "outcome", "said"),
    [
        (("task_create", *ACME, *READONLY, "--arguments", '{"title": "x"}'), "denied", "role_too_low"),
        (("task_create", *ACME, *EMPLOYEE, "--arguments", '{"titel": "x"}'), "invalid", "titel"),
        (("task_create", *ACME, *EMPLOYEE, "--arguments", "[]"), "invalid", ""),
        (("no_such_tool", *ACME, *EMPLOYEE), "invalid", "no_such_tool"),
    ],
    ids=["role", "argument", "shape", "name"],
)
def test_a_call_that_is_refused_exits_with_1_and_says_why(
    glow: Glow, words: Sequence[str], outcome: str, said: str
) -> None:
    assert glow("tools", "call", *words) == 1
    assert glow.out == ""
    assert glow.err.startswith(f"glow: {outcome}")
    assert said in glow.err
    assert glow("tools", "call", *words, "--json") == 1
    assert glow.json["outcome"].startswith(outcome)


def test_arguments_come_from_a_file_or_from_standard_input(
    glow: Glow, installation: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = tmp_path / "arguments.json"
    given.write_text('{"title": "from a file"}', encoding="utf-8")
    assert glow("tools", "call", "task_create", *ACME, *EMPLOYEE, "--arguments", f"@{given}") == 0
    assert glow.json["task"]["title"] == "from a file"
    installation.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"title": "from a pipe"}')))
    assert glow("tools", "call", "task_create", *ACME, *EMPLOYEE, "--arguments", "-") == 0
    assert glow.json["task"]["title"] == "from a pipe"


def test_policy_explain_says_what_would_become_of_a_call_why_and_what_would_change_it(
    glow: Glow, firm: Database
) -> None:
    asked = ("policy", "explain", "task_create", *ACME, *EMPLOYEE)
    assert glow(*asked, "--level", "L1") == 0
    shown = " ".join(glow.out.split())
    assert "needs_approval: EMPLOYEE or above decides" in shown
    assert "Below L2 a person approves what the agent prepares. (autonomy_needs_approval_prepare" in shown
    assert "level L2, L3 allow" in shown
    call = last_call(firm, "autonomy_query")
    assert (call["door"], call["mode"], call["outcome"]) == ("cli", "person", "done")
    assert glow(*asked, "--role", "READONLY", "--json") == 0
    assert glow.json["reasons"] == ["role_too_low"]


def test_policy_replay_lists_what_a_proposed_policy_would_change_and_the_one_in_force_changes_nothing(
    glow: Glow, tmp_path: Path
) -> None:
    assert glow("tools", "call", "task_create", *ACME, *EMPLOYEE, "--arguments", '{"title": "once"}') == 0
    asked = ("policy", "replay", *ACME, "--user", "manager@acme.example")
    assert glow(*asked) == 0
    assert "Nothing would change." in glow.out
    assert " a second)." in glow.out
    shutil.copytree(resource_folder("manifests") / "policies", tmp_path / "proposed")
    rule = '@id("by_nobody") forbid (principal, action == Action::"call", resource == Tool::"task_create");'
    (tmp_path / "proposed" / "new.cedar").write_text(rule, encoding="utf-8")
    proposed = ("--policies", str(tmp_path / "proposed"))
    assert glow(*asked, *proposed) == 0
    assert "deny: by_nobody" in " ".join(glow.out.split())
    assert glow(*asked, *proposed, "--limit", "0", "--json") == 0
    assert {(each["tool"], each["to"]) for each in glow.json["by_tool_and_role"]} == {("task_create", "deny")}
    assert glow.json["differences"] == []


def test_policy_replay_is_for_who_reads_the_record_and_takes_nothing_but_policies(glow: Glow, tmp_path: Path) -> None:
    assert glow("policy", "replay", *ACME, *EMPLOYEE) == 1
    assert "role_too_low" in glow.err
    assert glow("policy", "replay", *ACME, "--user", "manager@acme.example", "--policies", str(tmp_path)) == 2
    assert "has no policies" in glow.err


def test_policy_explain_of_no_tool_fails_and_says_so(glow: Glow) -> None:
    assert glow("policy", "explain", "nonsense", *ACME, *EMPLOYEE) == 1
    assert "there is no tool named 'nonsense'" in glow.err


def test_a_call_that_waits_says_where_it_is_decided(glow: Glow, firm: Database) -> None:
    _lower(firm, "acme-audit", 1)
    try:
        assert glow("tools", "call", "task_create", *ACME, "--arguments", '{"title": "asked"}') == 0
        assert glow.out.startswith("It waits for approval; decide it at http://127.0.0.1:8000/#approval=")
        approval_id = glow.out.strip().rpartition("=")[2]
        decision = json.dumps({"approval_id": approval_id, "decision": "approve"})
        assert glow("tools", "call", "approval_decide", *ACME, "--arguments", decision) == 1
        assert glow("tools", "call", "approval_decide", *ACME, *EMPLOYEE, "--arguments", decision) == 0
    finally:
        _lower(firm, "acme-audit", 2)
    assert glow("tools", "call", "task_list", *ACME, *EMPLOYEE) == 0
    assert "asked" in [task["title"] for task in glow.json["items"]]


def _lower(database: Database, slug: str, ceiling: int) -> None:
    """Set the ceiling of the organization's service account."""

    async def write() -> None:
        async with connected(database.dsn(Login.OWNER)) as owner:
            await owner.execute(
                "UPDATE memberships SET autonomy_ceiling = $2 WHERE role = 'SERVICE_ACCOUNT' AND organization_id = "
                "(SELECT organization_id FROM organizations WHERE slug = $1)",
                slug,
                ceiling,
            )

    run_apart(write())


# Migrating and examining ----------------------------------------------------------------------------------------------


def test_migrate_names_what_it_applied_and_then_finds_nothing_to_do(
    glow: Glow, installation: pytest.MonkeyPatch, cluster: EmbeddedServer
) -> None:
    with bare_database(cluster) as bare:
        for name, value in external(bare).items():
            installation.setenv(name, value)
        assert glow("migrate") == 0
        assert glow.out.splitlines()[0] == "applied 0001_expand_foundation.sql"
        assert glow("migrate") == 0
        assert glow.out == "The schema is up to date.\n"


def test_migrate_makes_the_index_of_the_embedding_model_that_is_set_and_the_doctor_looks_for_it(
    glow: Glow, installation: pytest.MonkeyPatch, cluster: EmbeddedServer, free_port: str
) -> None:
    with bare_database(cluster) as bare, served_embeddings() as server:
        for name, value in external(bare).items():
            installation.setenv(name, value)
        installation.setenv("GLOW_EMBEDDING_BASE_URL", server.url)
        installation.setenv("GLOW_EMBEDDING_MODEL", "small-one")
        server.dimensions = 24
        assert glow("migrate") == 0
        assert "made the index for the vectors of small-one@24" in glow.out.splitlines()
        assert glow("migrate") == 0
        assert glow.out == "The schema is up to date.\n"
        assert embeddings_finding(glow, free_port)["state"] == "ok"
        server.dimensions = 32
        assert embeddings_finding(glow, free_port)["mend"].startswith("run `glow migrate`")


def test_the_doctor_says_which_key_an_embedding_server_is_sent(
    glow: Glow, installation: pytest.MonkeyPatch, free_port: str
) -> None:
    with served_embeddings() as server:
        installation.setenv("GLOW_EMBEDDING_BASE_URL", server.url)
        installation.setenv("OPENAI_API_KEY", "sk-hidden")
        installation.setenv("GLOW_MODEL_API", "offline")
        assert "is sent no key (OPENAI_API_KEY is for the model's" in embeddings_finding(glow, free_port)["says"]
        installation.setenv("OPENAI_BASE_URL", server.url.replace("/v1", "/chat/v1"))
        assert "is sent OPENAI_API_KEY" in embeddings_finding(glow, free_port)["says"]
        installation.setenv("GLOW_EMBEDDING_API_KEY", "hidden-too")
        assert "is sent GLOW_EMBEDDING_API_KEY" in embeddings_finding(glow, free_port)["says"]
        assert server.keys == [None, "Bearer sk-hidden", "Bearer hidden-too"]
        installation.setenv("GLOW_EMBEDDING_MODEL", "none")
        assert "GLOW_EMBEDDING_MODEL=none" in embeddings_finding(glow, free_port)["says"]
        assert len(server.keys) == 3


NO_TICKETS = "SET session_replication_role = replica"
UNEMBEDDED = """
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, trust, status,
    failure, size_bytes, content_sha256, uploaded_by, created_at, updated_at)
SELECT organization_id, gen_random_uuid(), 'Fleet', 'u', 'text/plain', 'firm', 'internal', 'ready', 'HTTP 401', 1,
       '\\x00', gen_random_uuid(), now(), now()
FROM organizations LIMIT 1
"""


def test_the_doctor_says_how_many_documents_have_no_vectors(
    glow: Glow, installation: pytest.MonkeyPatch, firm: Database, free_port: str
) -> None:
    def findings() -> list[dict[str, str]]:
        glow("doctor", "--port", free_port, "--json")
        return [item for item in glow.json["items"] if item["part"] == "vectors"]

    def documents(statement: str) -> None:
        in_the_queue(firm, NO_TICKETS, statement, login="postgres")

    with served_embeddings() as server:
        installation.setenv("GLOW_EMBEDDING_BASE_URL", server.url)
        assert findings() == []
        documents(UNEMBEDDED)
        (found,) = findings()
        assert (found["state"], "that got none: 1; these are found by their words" in found["says"]) == ("note", True)
        documents("UPDATE knowledge_documents SET status = 'embedding', failure = NULL WHERE title = 'Fleet'")
        assert findings() == [{"part": "vectors", "state": "note", "says": "documents that wait for theirs: 1"}]
        installation.setenv("GLOW_EMBEDDING_MODEL", "none")
        assert findings() == []
    documents("DELETE FROM knowledge_documents WHERE title = 'Fleet'")


def embeddings_finding(glow: Glow, port: str) -> dict[str, str]:
    """What the doctor says of the embedding server; whatever else it finds is not looked at."""
    glow("doctor", "--port", port, "--json")
    assert "hidden" not in glow.out
    (found,) = [item for item in glow.json["items"] if item["part"] == "embeddings"]
    return found


def test_migrating_needs_the_owner_s_url(glow: Glow, installation: pytest.MonkeyPatch) -> None:
    installation.delenv("GLOW_OWNER_DATABASE_URL")
    assert glow("migrate") == 1
    assert "GLOW_OWNER_DATABASE_URL" in glow.err


def test_a_wrong_password_is_told_plainly(glow: Glow, installation: pytest.MonkeyPatch, firm: Database) -> None:
    login, _, place = firm.dsn(Login.OWNER).rpartition("@")
    installation.setenv("GLOW_OWNER_DATABASE_URL", f"{login}x@{place}")
    assert glow("migrate") == 1
    assert "the URL of glow_owner is wrong" in glow.err


def test_the_doctor_finds_nothing_wrong_with_a_whole_installation(glow: Glow, firm: Database, free_port: str) -> None:
    in_the_queue(firm, "DELETE FROM queue.pgqueuer")
    assert glow("doctor", "--port", free_port) == 0
    assert glow.out.endswith("Nothing is wrong.\n")
    for part in ("glow_owner", "glow_app", "glow_recorder", "glow_service", "pgvector", "migrations", "disk", "port"):
        assert f"ok     {part}:" in glow.out


def test_the_doctor_says_that_jobs_wait_and_no_worker_takes_them(
    glow: Glow, waiting_job: Database, free_port: str
) -> None:
    assert glow("doctor", "--port", free_port, "--json") == 1
    (wrong,) = [item for item in glow.json["items"] if item["state"] == "wrong"]
    assert wrong["says"].startswith("jobs wait, and none takes them, the last was heard 9")
    assert wrong["mend"].startswith("start `glow worker`")
    in_the_queue(waiting_job, "INSERT INTO queue.workers (worker_id) VALUES (gen_random_uuid())")
    assert glow("doctor", "--port", free_port, "--json") == 0
    assert {"they take jobs: 1"} == {item["says"] for item in glow.json["items"] if item["part"] == "workers"}


def test_the_doctor_says_by_which_key_the_ledger_is_signed_and_whether_it_is_one(
    glow: Glow, firm: Database, free_port: str, installation: pytest.MonkeyPatch
) -> None:
    def finding() -> dict[str, str]:
        glow("doctor", "--port", free_port, "--json")
        (found,) = [each for each in glow.json["items"] if each["part"] == "ledger"]
        return found

    worker = "INSERT INTO queue.workers (worker_id, ledger_key_id) VALUES (gen_random_uuid(), '{}')"
    assert "no key to sign it by is here yet" in finding()["says"]
    installation.setenv("GLOW_LEDGER_KEY", "short")
    assert "GLOW_LEDGER_KEY: not 32 bytes" in (glow("doctor", "--port", free_port), glow.out)[1]
    installation.setenv("GLOW_LEDGER_KEY", base64.b64encode(bytes(range(32))).decode())
    assert finding() == {"part": "ledger", "state": "ok", "says": f"signed by key {KEY.key_id}"}
    in_the_queue(firm, worker.format(OTHER_KEY.key_id))
    assert (finding()["state"], OTHER_KEY.key_id in finding()["says"]) == ("wrong", True)
    in_the_queue(firm, worker.format(KEY.key_id))
    assert "by 2 keys in turn" in finding()["says"]
    installation.delenv("GLOW_LEDGER_KEY")
    in_the_queue(firm, "DELETE FROM queue.workers")
    installation.setenv("GLOW_LEDGER_KEY_FILE", "/nowhere/key")
    assert "GLOW_LEDGER_KEY_FILE /nowhere/key" in finding()["says"]


def test_the_doctor_says_where_heads_are_sent_and_where_they_do_not_get(
    glow: Glow, firm: Database, free_port: str, installation: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def findings() -> list[dict[str, str]]:
        glow("doctor", "--port", free_port, "--json")
        return [each for each in glow.json["items"] if each["part"] == "heads"]

    async def send() -> None:
        async with open_pools(firm.urls()) as pools:
            await seal(pools.service)
            config = read_system_config(tmp_path / "system.yaml").heads
            places = places_of(config, HeadSecrets(), utc_now)
            await HeadWorker(PostgresSendings(pools.service), lambda: places, lambda: timedelta(hours=1)).send()

    assert findings()[0]["says"].startswith("are sent nowhere")
    config = f"heads: {{to: [{{name: here, file: {tmp_path}/heads}}, {{name: away, file: /nowhere/heads}}]}}\n"
    (tmp_path / "system.yaml").write_text(config, encoding="utf-8")
    installation.setenv("SYSTEM_CONFIG_PATH", str(tmp_path / "system.yaml"))
    assert [each["says"] for each in findings()] == ["none was sent to here yet", "none was sent to away yet"]
    assert glow("tools", "call", "task_list", *ACME, *EMPLOYEE) == 0
    run_apart(send())
    here, away = findings()
    assert (here["state"], here["says"]) == ("ok", "of 1 organizations are at here")
    assert away["state"] == "wrong"
    assert away["says"].endswith("UTC: the file cannot be appended to: No such file or directory")


@pytest.fixture
def waiting_job(firm: Database) -> Iterator[Database]:
    """A job that nobody has taken for two minutes, and what a worker left that was killed before."""
    in_the_queue(
        firm,
        "DELETE FROM queue.pgqueuer",
        "INSERT INTO queue.pgqueuer (priority, status, entrypoint, execute_after) "
        "VALUES (0, 'queued', 'task_run', now() - interval '2 minutes')",
        "INSERT INTO queue.workers (worker_id, heartbeat_at) VALUES (gen_random_uuid(), now() - interval '90 seconds')",
    )
    yield firm
    in_the_queue(firm, "DELETE FROM queue.workers", "DELETE FROM queue.pgqueuer")


def in_the_queue(firm: Database, *statements: str, login: str = Login.SERVICE) -> None:
    async def execute() -> None:
        async with connected(firm.dsn(login)) as connection:
            for statement in statements:
                await connection.execute(statement)

    run_apart(execute())


def test_the_doctor_names_pending_migrations_and_who_applies_them(
    glow: Glow, installation: pytest.MonkeyPatch, cluster: EmbeddedServer, free_port: str
) -> None:
    with bare_database(cluster) as bare:
        for name, value in external(bare).items():
            installation.setenv(name, value)
        assert glow("doctor", "--port", free_port, "--json") == 1
    wrong = {item["part"]: item for item in glow.json["items"] if item["state"] == "wrong"}
    assert list(wrong) == ["migrations"]
    assert "glow migrate" in wrong["migrations"]["mend"]


def test_the_doctor_will_not_have_a_login_that_no_wall_holds(
    glow: Glow, installation: pytest.MonkeyPatch, firm: Database, free_port: str
) -> None:
    installation.setenv("DATABASE_URL", firm.dsn("postgres"))
    installation.setenv("GLOW_RECORDER_DATABASE_URL", firm.dsn(Login.APP))
    assert glow("doctor", "--port", free_port, "--json") == 1
    wrong = {item["part"]: item["says"] for item in glow.json["items"] if item["state"] == "wrong"}
    assert wrong == {
        "glow_app": "its URL logs in as postgres",
        "glow_recorder": "its URL logs in as glow_app",
    }


def test_the_doctor_tells_a_model_that_cannot_be_reached(
    glow: Glow, installation: pytest.MonkeyPatch, free_port: str
) -> None:
    installation.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port}/v1")
    installation.setenv("GLOW_MODEL", "some-model")
    assert glow("doctor", "--port", free_port, "--json") == 1
    (wrong,) = [item for item in glow.json["items"] if item["state"] == "wrong"]
    assert wrong["part"] == "model"
    assert "OPENAI_BASE_URL" in wrong["mend"]


def test_what_is_remembered_is_set_listed_and_forgotten_by_ones_own_hand(glow: Glow, firm: Database) -> None:
    own = ("--organization", "acme-audit", "--user", "employee@acme.example")
    assert glow("preferences", "list", *own) == 0
    assert glow.out == "Nothing is remembered.\n"
    assert glow("preferences", "set", "Call me Ms Borg.", *own) == 0
    assert glow.out == "Remembered: Call me Ms Borg.\n"
    recorded = last_call(firm, "preference_set")
    assert (recorded["door"], recorded["mode"], recorded["outcome"]) == ("cli", "person", "done")
    assert glow("preferences", "list", *own, "--json") == 0
    (kept,) = glow.json["items"]
    assert glow("preferences", "set", "Call me Freja.", "--id", kept["preference_id"], *own, "--json") == 0
    assert glow.json["result"]["preference"]["words"] == "Call me Freja."
    assert glow("preferences", "list", "--organization", "acme-audit", "--user", "partner@acme.example") == 0
    assert glow.out == "Nothing is remembered.\n"
    assert glow("preferences", "forget", kept["preference_id"], *own) == 0
    assert glow.out == "Forgotten.\n"
    assert glow("preferences", "forget", kept["preference_id"], *own) == 1
    assert glow.err == "glow: invalid: preference_id: there is no such preference of yours\n"


# Task runs ------------------------------------------------------------------------------------------------------------


def test_a_run_is_started_and_followed_to_its_end(glow: Glow) -> None:
    created = '{"title": "Refresh", "kind": "refresh_analytics"}'
    assert glow("tools", "call", "task_create", *ACME, *EMPLOYEE, "--arguments", created) == 0
    assert glow("tasks", "run", glow.json["task"]["task_id"], *ACME, *EMPLOYEE) == 0
    task_run_id = glow.out.strip()
    named = json.dumps({"task_run_id": task_run_id})
    assert glow("tools", "call", "task_run_cancel", *ACME, *EMPLOYEE, "--arguments", named) == 0

    assert glow("tasks", "follow", task_run_id, *ACME, *EMPLOYEE) == 1
    assert glow.out.split() == ["cancelled", "0", "%", "Cancelled", "before", "it", "began."]
    assert glow("tasks", "follow", task_run_id, *ACME, *EMPLOYEE, "--json") == 1
    assert (glow.json["type"], glow.json["task_run_id"]) == ("task_run.cancelled", task_run_id)


def test_a_run_that_cannot_be_started_or_found_says_so(glow: Glow) -> None:
    nothing = "4a0c3f6e-0000-4000-8000-000000000000"
    assert glow("tasks", "run", nothing, *ACME, *EMPLOYEE) == 1
    assert "There is no such task" in glow.err
    assert glow("tasks", "follow", nothing, *ACME, *EMPLOYEE) == 1
    assert "no task run" in glow.err
    assert glow("tasks", "run", nothing, *ACME, *EMPLOYEE, "--input", "{") == 2


def test_an_archive_is_ingested_with_what_lies_inside_and_each_file_is_reported(glow: Glow, tmp_path: Path) -> None:
    path = tmp_path / "client.zip"
    path.write_bytes(
        packed({"2026/gnu.md": "# Gnu\n\nThe gnu clause.", "2026/broken.pdf": "%PDF-1.4 x", "a.exe": b"MZ\x90"})
    )
    assert glow("ingest", str(path), *ACME, *EMPLOYEE, "--json") == 1
    ended = {str(Path(item["path"]).relative_to(tmp_path)): item for item in glow.json["items"]}
    assert {name: item["status"] for name, item in ended.items()} == {
        "client.zip": "ready",
        "client.zip/2026/gnu.md": "ready",
        "client.zip/2026/broken.pdf": "failed",
    }
    assert ended["client.zip"]["reason"] == "1 file in it was not taken in: a.exe (it is a program)"
    assert glow("search", "gnu clause", *ACME, *READONLY, "--json") == 0
    assert glow.json["items"][0]["title"] == "2026/gnu.md"

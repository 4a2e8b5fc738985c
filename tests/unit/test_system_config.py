"""The operator's file: held to its shape, taken when it changes, and the last good one kept when it breaks."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.budget import Budget
from agent.places import Places
from domain.kernel import Principal
from domain.resources import resource_folder
from knowledge.model import SearchWeights
from knowledge.parse.document import DEFAULT_LIMITS
from server.operated import bounded, weights_of
from server.system_config import (
    REREAD_EVERY_S,
    HeadPlace,
    HeadsConfig,
    Price,
    RunLimits,
    SystemConfig,
    SystemConfigFile,
    SystemConfigInvalid,
    read_system_config,
)
from tests.support.policies import principal

SENSELESS = (
    "prices: {m: {input: 1, output: 10, since: 2026-11-31}}",
    "prices: {m: {input: 1, output: 10, since: 0001-01-01T00:00:00+10:00}}",
    "limits: {runs: 0b_}",
    "limits: {runs: !!int x}",
    "limits: {runs: !!int ''}",
    "limits: {runs: !!bool maybe}",
    "limits: {runs: !!timestamp soon}",
)
"""Well-formed YAML with a value that its type cannot be, at which PyYAML raises whatever Python raised."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "system.yaml"
    written.write_text("limits: {runs: 3}\n", encoding="utf-8")
    return written


def test_what_ships_are_the_defaults() -> None:
    assert read_system_config(resource_folder("config") / "system.yaml") == SystemConfig()
    assert REREAD_EVERY_S < 60


def test_a_file_says_only_what_differs(path: Path) -> None:
    config = read_system_config(path)
    assert (config.limits.runs, config.limits.streams, config.uploads.file_bytes) == (3, 32, 50 * 1024 * 1024)
    for nothing in ("", "\n", "# limits: {runs: 3}\n"):
        path.write_text(nothing, encoding="utf-8")
        assert read_system_config(path) == SystemConfig()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("limit: {runs: 3}", "limit"),
        ("limits: {run: 3}", "limits.run"),
        ("limits: {runs: 0}", "limits.runs"),
        ("limits: {runs: many}", "limits.runs"),
        ("limits: {runs: true}", "limits.runs"),
        ("limits: [8]", "limits"),
        ("runs: {turns: 1}", "runs.turns"),
        ("runs: {seconds: .nan}", "runs.seconds"),
        ("prices: {m: {input: -1, output: 1}}", "prices.m.input"),
        ("prices: {m: {input: 1}}", "prices.m.output"),
        ("models: {m: {context_tokens: 2000}}", "models.m.context_tokens"),
        ("models: {m: {}}", "models.m.context_tokens"),
        ("uploads: {file_mib: 51}", "uploads.file_mib"),
        ("search: {vector_weight: 101}", "search.vector_weight"),
        ("search: {lexical_weight: 0, vector_weight: 0}", "cannot both be 0"),
        ("heads: {every_s: 0}", "heads.every_s"),
        ("heads: {to: [{name: a}]}", "name exactly one of file, s3 and webhook"),
        ("heads: {to: [{name: a, file: /a, webhook: 'https://a.example'}]}", "name exactly one"),
        ("heads: {to: [{name: a, file: heads.ndjson}]}", "not an absolute path"),
        ("heads: {to: [{name: A!, file: /a}]}", "heads.to.0.name"),
        ("heads: {to: [{name: a, file: /a}, {name: a, file: /b}]}", "the same name"),
        ("heads: {to: [{name: a, webhook: 'http://a.example'}]}", "must be https"),
        ("heads: {to: [{name: a, webhook: 'http://localhost.example'}]}", "must be https"),
        ("heads: {to: [{name: a, webhook: 'https://me:secret@a.example'}]}", "without a name or password"),
        ("heads: {to: [{name: a, webhook: 'file:///etc/passwd'}]}", "not a URL"),
        ("heads: {to: [{name: a, s3: {bucket: b, region: r}}]}", "heads.to.0.s3.bucket"),
        ("heads: {to: [{name: a, s3: {bucket: bbb, region: r, prefix: '../'}, file: /a}]}", "name exactly one"),
        ("heads: {to: [{name: a, s3: {bucket: bbb, region: r, prefix: 'a b/'}}]}", "prefix"),
        ("heads: {to: [{name: a, file: /a, organizations: []}]}", "organizations"),
        ("- 1", "mapping"),
        ("limits: {runs: 1}\nlimits: {runs: 2}", "twice"),
        ("{", "system.yaml"),
        ("limits: !!python/object/apply:os.system ['true']", "system.yaml"),
        *((text, "system.yaml") for text in SENSELESS),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_place(path: Path, text: str, place: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SystemConfigInvalid, match=place):
        read_system_config(path)


def test_a_start_without_its_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemConfigInvalid, match="cannot be used"):
        SystemConfigFile.open(tmp_path / "absent.yaml")


def test_a_change_is_taken_and_a_broken_file_keeps_the_last_good_one(path: Path) -> None:
    held = SystemConfigFile.open(path)
    path.write_text("limits: {runs: 5}\n", encoding="utf-8")
    held.reread()
    assert held.current.limits.runs == 5
    for broken in ("limits: {runs: none}\n", *SENSELESS, None):
        with capture_logs() as lines:
            if broken is None:
                path.unlink()
            else:
                path.write_text(broken, encoding="utf-8")
            held.reread()
            held.reread()
        assert (held.current.limits.runs, held.broken) == (5, True)
        assert [line["event"] for line in lines] == ["system_config.unusable"], "said once for each wrong content"
    path.write_text("limits: {runs: 6}\n", encoding="utf-8")
    held.reread()
    assert (held.current.limits.runs, held.broken) == (6, False)


def test_heads_go_where_the_file_says_and_to_the_given_place_only_while_it_names_none(path: Path) -> None:
    given = HeadsConfig(every_s=60, to=[HeadPlace(name="given", file="/given.ndjson")])
    held = SystemConfigFile.open(path, given)
    assert held.current.heads == given
    path.write_text("limits: {runs: 5}\nheads: {to: [{name: named, file: /named.ndjson}]}\n", encoding="utf-8")
    held.reread()
    assert [place.name for place in held.current.heads.to] == ["named"]
    path.write_text("limits: {runs: 6}\n", encoding="utf-8")
    held.reread()
    assert (held.current.heads, held.current.limits.runs) == (given, 6)


def test_what_the_orders_of_a_search_count_is_what_is_in_force(path: Path) -> None:
    path.write_text("search: {vector_weight: 0.5}\n", encoding="utf-8")
    assert weights_of(read_system_config(path)) == SearchWeights(lexical=1.0, vector=0.5)


async def test_the_file_is_looked_at_by_itself(path: Path) -> None:
    held = SystemConfigFile.open(path)
    _write(path, "limits: {runs: 7}\n")
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        watching = group.create_task(held.watch(every_s=0.01))
        while True:
            await asyncio.sleep(0.01)
            if held.current.limits.runs == 7:
                break
        watching.cancel()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def test_the_largest_file_that_is_taken_in_is_one_that_is_read() -> None:
    assert SystemConfig().uploads.file_bytes == DEFAULT_LIMITS.size_bytes


def test_places_follow_what_is_in_force(path: Path) -> None:
    held = SystemConfigFile.open(path)
    places, somebody = Places(lambda: held.current.limits.runs), principal()
    assert [places.take(somebody) for _ in range(4)] == [True, True, True, False]
    path.write_text("limits: {runs: 4}\n", encoding="utf-8")
    held.reread()
    assert _taken(places, somebody) == [True, False]


def _taken(places: Places, somebody: Principal) -> list[bool]:
    return [places.take(somebody) for _ in range(2)]


def test_an_operator_bounds_a_personas_budget_and_never_widens_it() -> None:
    budget = Budget(turns=6, calls=30, tokens=1000, seconds=60)
    assert bounded(budget, RunLimits()) == budget
    assert bounded(budget, RunLimits(turns=12, calls=5, seconds=30)) == Budget(
        turns=6, calls=5, tokens=1000, seconds=30
    )


def test_a_price_is_for_a_million_tokens() -> None:
    assert Price(input=1.25, output=10).of(1_000_000, 100_000) == 2.25
    assert Price(input=0, output=0).of(5, 5) == 0

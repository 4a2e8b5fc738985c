"""Vectors without a server: the model of the extra `local`, as far as the port promises anything of it."""

from __future__ import annotations

import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from knowledge.embeddings.local import DIMENSIONS, MODEL, LocalEmbedder, is_installed
from knowledge.embeddings.model import EmbeddingsRefused, TokensUsed
from server.hub import embedder_of
from server.operated import price_now
from server.settings import Settings, SettingsInvalid, load_settings
from server.system_config import SystemConfigFile

here = pytest.mark.skipif(not is_installed(), reason="the extra `local` is not installed")


def likeness(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@here
async def test_texts_that_mean_the_same_are_nearer_than_texts_with_the_same_words() -> None:
    embedder = LocalEmbedder()
    question = await embedder.embed_question("How long are cars insured?")
    texts = ["The insurance of motor vehicles runs for a year.", "How long are stories in the papers?"]
    same, other = await embedder.embed(texts)
    assert same is not None
    assert other is not None
    assert likeness(question, same) > likeness(question, other)


@here
async def test_vectors_have_length_one_the_size_of_the_space_and_are_the_same_each_time() -> None:
    texts = [f"Receipt {number} of the year's fieldwork" for number in range(150)]
    one, again = await LocalEmbedder().embed(texts), await LocalEmbedder().embed(texts[::-1])
    assert list(one) == list(again)[::-1]
    space = await LocalEmbedder().space()
    assert (space.model_id, space.dimensions) == (f"{MODEL}@{DIMENSIONS}", DIMENSIONS)
    for vector in one:
        assert vector is not None
        assert len(vector) == DIMENSIONS
        assert math.hypot(*vector) == pytest.approx(1.0)


@here
async def test_a_text_without_a_word_has_no_vector_and_costs_the_others_nothing() -> None:
    used = TokensUsed()
    empty, odd, word = await LocalEmbedder().embed(["", "\ud800 \u0000", "audit"], used)
    assert empty is None
    assert odd is not None
    assert word is not None
    assert (used.told, used.untold) == (0, 0)
    with pytest.raises(EmbeddingsRefused, match="holds no word") as refused:
        await LocalEmbedder().embed_question("")
    assert refused.value.of_texts


@here
async def test_files_that_are_not_the_model_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingsRefused, match="cannot be read"):
        await LocalEmbedder(tmp_path).embed(["audit"])
    weights = tmp_path / "weights" / "l2_supercat_256.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"another model")
    with pytest.raises(EmbeddingsRefused, match="is not the file") as refused:
        await LocalEmbedder(tmp_path).embed_question("audit")
    assert not refused.value.of_texts


OFFLINE = """
import asyncio, socket, sys
class Closed(socket.socket):
    def __init__(self, family=-1, *rest, **named):
        if family in (socket.AF_INET, socket.AF_INET6):
            raise AssertionError("a socket was opened")
        super().__init__(family, *rest, **named)
    def connect(self, *given): raise AssertionError("a socket was connected")
socket.socket = Closed
from knowledge.embeddings.local import LocalEmbedder
print(len(asyncio.run(LocalEmbedder().embed_question("Nothing is downloaded."))))
assert not {"wordllama", "requests", "huggingface_hub"} & sys.modules.keys(), "what can download was imported"
"""


@here
def test_nothing_is_asked_of_the_network_and_nothing_is_imported_that_could(tmp_path: Path) -> None:
    """In a process whose home holds no cache of anything."""
    environment = {"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(DIMENSIONS)), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment that asks for vectors of this process, and for nothing else."""
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLOW_EMBEDDING_MODEL", "local")
    return monkeypatch


@here
def test_by_the_setting_local_no_server_is_asked_whatever_keys_there_are(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-hidden")
    environment.setenv("GLOW_MODEL", "a-model")
    settings = load_settings()
    assert settings.embedding_server is None
    assert isinstance(embedder_of(settings), LocalEmbedder)


@here
@pytest.mark.parametrize(
    ("name", "value"),
    [("GLOW_EMBEDDING_BASE_URL", "http://127.0.0.1:9/v1"), ("GLOW_EMBEDDING_API_KEY", "sk-hidden")],
)
def test_what_is_for_a_server_does_not_go_with_local(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=f"{name}: unset it") as invalid:
        load_settings()
    assert "sk-hidden" not in str(invalid.value)


def test_without_the_extra_the_setting_says_how_to_install_it(environment: pytest.MonkeyPatch) -> None:
    # What a module stands for that is marked as absent is what find_spec says of one that is not installed.
    environment.setitem(sys.modules, "wordllama", None)
    assert find_spec("wordllama") is None
    with pytest.raises(SettingsInvalid, match=r"pip install 'prisma-glow\[local\]'"):
        load_settings()


def test_what_it_reads_costs_nothing_also_for_a_budget_of_money(tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text("")
    price = price_now(SystemConfigFile.open(file))(MODEL)
    assert price is not None
    assert price.micros(1_000_000) == 0

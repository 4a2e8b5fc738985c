"""Functions of the page run by Node: Markdown in time that grows with its length only, and quotes by code points."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from checks.node import find_node
from server.page.routes import FOLDER

DRIVER = Path(__file__).with_name("under_node.mjs")


NODE = find_node()
TIMEOUT_S = 30
"""A hundred times what the longest call takes; in quadratic time it would take minutes."""

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node was found")

Call = tuple[str, str, Sequence[object]]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's modules, where Node takes them for what they are."""
    folder = shutil.copytree(FOLDER, tmp_path_factory.mktemp("page") / "assets")
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def run(modules: Path, *calls: Call) -> list[object]:
    assert NODE is not None
    done = subprocess.run(
        [NODE.program, str(DRIVER), str(modules)],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


LAID_OUT = {
    "one\ntwo\r\nthree": "<p>one<br>two<br>three</p>",
    "# Head #\n\ntext": "<h3>Head</h3><p>text</p>",
    "- a\n- b\n  - c": "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>",
    "3. a\n4. b": "<ol><li>a</li><li>b</li></ol>",
    "> said": "<blockquote><p>said</p></blockquote>",
    "- - -": "<hr>",
    "***": "<hr>",
    "--": "<p>--</p>",
    "`a` ``b`` ```c": "<p><code>a</code> <code>b</code> ```c</p>",
    "``a`": "<p>``a`</p>",
    "```\n<b>\n```": "<pre><code><b></code></pre>",
    "**a** *b* __c__ _d_ e_f_g": "<p><strong>a</strong> <em>b</em> <strong>c</strong> <em>d</em> e_f_g</p>",
    "[1] of [x](javascript:y)": "<p>[1] of x (javascript:y)</p>",
    "a | b\n:-- | --:\n1 | 2": (
        "<div><table><thead><tr><th>a</th><th>b</th></tr></thead>"
        "<tbody><tr><td>1</td><td>2</td></tr></tbody></table></div>"
    ),
    "a | b\nno rule": "<p>a | b<br>no rule</p>",
}


def test_markdown_is_laid_out(modules: Path) -> None:
    answers = run(modules, *[("markdown.js", "markdown", [text]) for text in LAID_OUT])
    shown = ["".join(nodes) for nodes in cast("list[list[str]]", answers)]
    assert dict(zip(LAID_OUT, shown, strict=True)) == LAID_OUT


LONG = 400_000
HOSTILE = {
    "backticks": "a " + "`" * LONG,
    "backticks and a letter": "a " + "`" * LONG + "a",
    "open code": "` a" * (LONG // 4),
    "runs that grow": " ".join("`" * n for n in range(1, 900)),
    "a table's rule that is none": "a|b\n" + "-" + " " * LONG + "x",
    "a table's rule of bars": "a|b\n" + "|-" * (LONG // 4) + "x",
    "a rule that is none": "- " * (LONG // 4) + "x",
    "a rule of spaces": "--" + " " * LONG + "x",
    "an item of separators": "- " + "\u2028 " * (LONG // 4),
    "a heading of separators": "# " + "\u2028 " * (LONG // 4) + "\u2028",
    "a heading's end": "# " + " #" * (LONG // 4) + "x",
    "open brackets": "[" * LONG,
    "open links": "[a](" * (LONG // 4),
    "open citations": "[1 ," * (LONG // 4),
    "open citation and spaces": "[1" + " " * LONG,
    "stars": "*" * LONG,
    "open bold": "**a " * (LONG // 4),
    "open italics": "_a *b " * (LONG // 4),
    "addresses": "http://." * (LONG // 4),
    "closed pieces": "`a` **b** " * (LONG // 10),
    "quotes": ">" * LONG,
    "items": "- " * (LONG // 4),
    "lines of items": "- a\n" * (LONG // 10),
    "fences": "```\n" * (LONG // 10),
    "lines of bars": "|\n" * (LONG // 10),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_takes_markdown_more_time_than_its_length(modules: Path, name: str) -> None:
    assert run(modules, ("markdown.js", "markdown", [HOSTILE[name]])) != [[]]


CUTS: dict[tuple[int, int], list[str] | None] = {
    (0, 1): ["", "𝄞", "é quince 🍐 jam"],
    (3, 9): ["𝄞é ", "quince", " 🍐 jam"],
    (10, 11): ["𝄞é quince ", "🍐", " jam"],
    (0, 15): ["", "𝄞é quince 🍐 jam", ""],
    (3, 16): None,
    (-1, 4): None,
    (4, 4): None,
}


def test_quote_is_cut_out_by_code_points(modules: Path) -> None:
    calls: list[Call] = [("passage.js", "cut", ["𝄞é quince 🍐 jam", *offsets]) for offsets in CUTS]
    assert run(modules, *calls) == list(CUTS.values())

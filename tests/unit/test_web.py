"""The widget's own unit tests, `web/test`, by Node's runner."""

import re
import subprocess

import pytest

from checks.node import find_node, why_missing
from checks.web import WEB

MISSING = why_missing(WEB)
TIMEOUT_S = 100


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_the_unit_tests_of_the_widget_hold() -> None:
    node = find_node()
    assert node is not None
    done = subprocess.run(
        [str(node.program), "test.mjs"],
        cwd=WEB,
        env=node.environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\bpass [1-9]", done.stdout)

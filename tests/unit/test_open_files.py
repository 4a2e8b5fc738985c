"""A server may open as many files as the system lets it have: a login's thousand are fewer than its streams."""

import subprocess
import sys

import pytest

ALLOWED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (200, {hard}))
from server.cli.running import allow_open_files
allow_open_files({most})
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("hard", "most", "soft"), [(900, 65_536, 900), (900, 500, 500), (900, 100, 200)])
def test_the_soft_limit_is_raised_as_far_as_the_hard_one_and_never_lowered(hard: int, most: int, soft: int) -> None:
    code = ALLOWED.format(hard=hard, most=most)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(soft), str(hard)]

"""Where the data that ships with the code lies, for every floor that reads a manifest, a migration or the demo firm."""

from pathlib import Path
from typing import Literal

ResourceName = Literal["manifests", "migrations", "demo", "config", "audit"]


def resource_folder(name: ResourceName) -> Path:
    """The folder of that name beside the packages; one place, in a checkout as in an installed wheel.

    Source  `[tool.hatch.build.targets.wheel]` in pyproject.toml puts the data folders where the checkout has them.
    """
    return Path(__file__).resolve().parent.parent / name

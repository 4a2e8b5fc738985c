"""Packages and data folders are found alike in a checkout and in an installed wheel."""

import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from itertools import chain
from pathlib import Path

import grimp
import pytest

from domain.resources import ResourceName, resource_folder

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["agent", "tools", "knowledge", "server", "domain"]
FOLDERS: list[ResourceName] = ["manifests", "migrations", "demo", "config", "audit"]


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel of this tree puts into site-packages."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    installed = out / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    return installed


@pytest.mark.parametrize("name", PACKAGES)
def test_package_resolves_to_this_tree(name: str) -> None:
    package = importlib.import_module(name)
    assert [Path(place).resolve() for place in package.__path__] == [ROOT / name]


@pytest.mark.parametrize("name", FOLDERS)
def test_data_folder_of_the_checkout_is_found(name: ResourceName) -> None:
    assert resource_folder(name) == ROOT / name
    assert resource_folder(name).is_dir()


@pytest.mark.parametrize("name", FOLDERS)
def test_wheel_ships_every_file_of_a_data_folder(name: ResourceName, installation: Path) -> None:
    assert _files(installation / name) == _files(ROOT / name) != []


def test_installation_finds_its_own_data(installation: Path) -> None:
    ask = "from domain.resources import resource_folder as f; print(f('migrations'))"
    answer = subprocess.run(
        [sys.executable, "-c", ask], cwd=installation, check=True, capture_output=True, text=True
    ).stdout
    assert Path(answer.strip()) == installation / "migrations"


def test_wheel_holds_nothing_but_the_packages_and_their_data(installation: Path) -> None:
    shipped = {path.name for path in installation.iterdir() if not path.name.endswith(".dist-info")}
    assert shipped <= {*PACKAGES, *FOLDERS}


def test_distribution_names_its_command() -> None:
    (command,) = metadata.distribution("prisma-glow").entry_points.select(group="console_scripts")
    assert (command.name, command.value) == ("glow", "server.cli.main:main")


def test_every_library_that_source_imports_is_declared() -> None:
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)
    imported = {name for name in graph.modules if "." not in name} - sys.stdlib_module_names - {*PACKAGES}
    homes = metadata.packages_distributions()
    undeclared = {name for name in imported if not _declared().intersection(map(_normalized, homes.get(name, ())))}
    assert undeclared == set()


def _declared() -> set[str]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras: dict[str, list[str]] = pyproject["project"]["optional-dependencies"]
    requirements: list[str] = [*pyproject["project"]["dependencies"], *chain(*extras.values())]
    return {_normalized(re.split(r"[\[<>=!~ ]", requirement)[0]) for requirement in requirements}


def _normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(str(path.relative_to(folder)) for path in found)

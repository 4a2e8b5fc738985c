"""Every module of the benchmarks can be imported, and does nothing when it is."""

import importlib
import pkgutil

import pytest

import benchmarks

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.") if "__main__" not in module.name
)


@pytest.mark.parametrize("name", MODULES)
def test_benchmark_module_imports(name: str) -> None:
    assert importlib.import_module(name).__doc__

"""The package as a whole: who imports whom, what is public, what is documented, and what importing costs."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).parent.parent.parent
# From the ground up; a part may import parts of lower floors only (converters: errors alone).
FLOORS = [
    [
        "zoo.errors",
        "zoo.progress",
        "zoo.files",
        "zoo.names",
        "zoo.compiled",
        "zoo.laps",
        "zoo.garbage",
        "zoo.locking",
        "zoo.pages",
        "zoo.intervals",
        "zoo.sample_texts",
    ],
    ["zoo.converters"],
    ["zoo.registry"],
    ["zoo.data"],
    ["zoo.store"],
    ["zoo.loading"],
    ["zoo.outputs"],
    ["zoo.formats"],
    ["zoo.exporting"],
    ["zoo.recording"],
    ["zoo.surgery"],
    ["zoo.features"],
    ["zoo.training"],
    ["zoo.pretraining"],
    ["zoo.runs"],
    ["zoo.ranking", "zoo.trials"],
    ["zoo.adding", "zoo.reusing"],
    ["zoo.preparing"],
    ["zoo.phases"],
    ["zoo.searching", "zoo.rate_finding"],
    ["zoo.planning", "zoo.resuming"],
    ["zoo.pipeline", "zoo.making", "zoo.extracting", "zoo.evaluating", "zoo.recommending"],
    ["zoo.cli"],
]


def sources() -> dict[str, Path]:
    """Returns each module's file by its import name."""
    found = {}
    for folder, name in (("zoo", "zoo"), ("converters", "zoo.converters"), ("cli", "zoo.cli")):
        for path in (ROOT / folder).rglob("*.py"):
            parts = [*name.split("."), *path.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def floor_of(module: str) -> int:
    matching = [number for number, parts in enumerate(FLOORS) for part in parts if f"{module}.".startswith(f"{part}.")]
    assert matching, f"{module} stands on no floor: decide where it belongs"
    return matching[0]


def part_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("module", sorted(set(sources()) - {"zoo"}))
def test_imports_go_down_only(module: str) -> None:
    wrong = []
    for name in imports(sources()[module]):
        assert name.split(".")[0] not in ("cli", "converters"), "import zoo.cli or zoo.converters"
        if name == "zoo":
            assert part_of(module) == "zoo.cli", "only the command line uses the public names"
        elif name.startswith("zoo."):
            same = part_of(name) == part_of(module)
            if not same and floor_of(name) >= floor_of(module) > 0:
                wrong.append(name)
            if part_of(module) == "zoo.converters" and not same and name != "zoo.errors":
                wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize("module", sorted(set(sources()) - {"zoo.cli.main"}))
def test_examples_in_docstrings(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0


def test_public_names_are_there_and_no_function_shares_a_modules_name() -> None:
    assert sorted(zoo.__all__) == sorted(zoo._HOMES)
    modules = {module.split(".")[-1] for module in sources()}
    for name in zoo.__all__:
        value = getattr(zoo, name)
        assert value.__doc__, name
        assert name not in modules, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = zoo.nothing


def test_every_public_function_and_class_is_documented() -> None:
    bare = [
        f"{module}.{node.name}"
        for module, path in sources().items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        and not ast.get_docstring(node) and any(node is top for top in ast.parse(path.read_text()).body)
    ]  # fmt: skip
    assert bare == []


LIGHT = """
import sys, zoo
from zoo.cli.main import cli
zoo.list_models(); zoo.find_entry("letters-cnn"); zoo.list_runs(); zoo.Run
for words in ({words}):
    try:
        cli.main(words, standalone_mode=False)
    except SystemExit:
        pass
heavy = {{"tensorflow", "keras", "matplotlib", "sklearn", "numpy", "PIL"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "words", ["['--help'],", "['list'],", "['show', 'letters-cnn'],", "['runs'],", "['list', '--json'],"]
)
def test_reading_imports_no_tensorflow(words: str) -> None:
    """A fresh process: what others imported here must not hide it."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(words=words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

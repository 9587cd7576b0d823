"""`zoo cache`: sizes and ages as people write them, and what each command ends with."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from zoo.cli.caching import Age, Size
from zoo.cli.main import cli

from zoo.features.folder import FeatureFolder
from zoo.features.spec import FeatureSpec


@pytest.mark.parametrize(
    ("text", "count"), [("500MB", 5e8), ("10GB", 1e10), ("1.5e9", 1.5e9), ("1KiB", 1024), ("7b", 7), ("2t", 2e12)]
)
def test_sizes(text: str, count: float) -> None:
    assert Size().convert(text, None, None) == count
    assert Age().convert("30d", None, None) == 30 * 86_400


def test_a_size_that_lacks_its_unit_is_asked_for_again() -> None:
    """Who says 10 means 10 GB, and would lose all of it."""
    with pytest.raises(click.BadParameter, match="10GB"):
        Size().convert("10", None, None)


def test_the_commands(home: Path) -> None:
    spec = FeatureSpec("net", 2, "conv", "d", "avg", (4,), "float32", (10,), {"input": None})
    folder = FeatureFolder(home / "features", spec)
    folder.add(np.zeros((3, 32), np.uint8), np.zeros((3, 4), np.float32), {})

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["cache", *arguments])
        return result.exit_code, result.stdout

    assert json.loads(run("list", "--json")[1])[0]["key"] == spec.key
    assert spec.key[:12] in run("list")[1]
    assert spec.key in run("show", spec.key[:5])[1]
    assert run("show", "zz")[0] == 3
    assert run("verify") == (0, "1 file, 1 whole\n")
    with folder.lease():
        assert run("rm", spec.key)[0] == 7
        assert json.loads(run("prune", "--max-bytes", "0", "--json")[1])["in_use"][0]["key"] == spec.key
    assert run("prune", "--max-bytes", "ten")[0] == 2
    assert run("rm")[0] == 2
    (path,) = folder.path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert run("verify")[0] == 4
    assert run("merge", str(home / "nothing"))[0] == 3
    assert run("rm", "--all")[0] == 0
    assert not folder.path.exists()


def test_what_is_left_and_what_would_go(home: Path, tmp_path: Path) -> None:
    """Converted trunks are counted, and `--dry-run` does nothing."""
    for root in (home, tmp_path / "other"):
        spec = FeatureSpec("net", 2, "conv", str(root), "avg", (4,), "float32", (10,), {"input": None})
        FeatureFolder(root / "features", spec).add(np.zeros((3, 32), np.uint8), np.zeros((3, 4), np.float32), {})
    data = b"onnx" * 1000
    trunk = home / "trunks" / f"{'a' * 32}.{hashlib.sha256(data).hexdigest()}.onnx"
    trunk.parent.mkdir()
    trunk.write_bytes(data)
    os.utime(trunk, (time.time() - 7200,) * 2)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["cache", *arguments])
        assert result.exit_code in (0, 4), result.output
        return result.stdout

    assert f"1 converted trunk, 4.0 kB in {trunk.parent}" in run("list")
    before = sorted(home.rglob("*"))
    assert "1 shard (" in run("merge", str(tmp_path / "other"), "--dry-run")
    assert "would be freed" in run("prune", "--max-bytes", "0", "--dry-run")
    assert run("prune", "--older-than", "3h") == "There is nothing to remove.\n"
    assert sorted(home.rglob("*")) == before
    assert run("verify") == "2 files, 2 whole\n"
    assert "converted trunk" in run("prune", "--older-than", "1h")
    assert not trunk.exists()
    assert "1 shard (" in run("merge", str(tmp_path / "other"))
    assert len(json.loads(run("list", "--json"))) == 2
    for path in (home / "features").glob("*/*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    findings = json.loads(run("verify", "--json"))
    assert [(each["state"], Path(each["moved_to"]).suffix) for each in findings] == [("damaged", ".corrupt")] * 2

"""What every test shares: a home of its own, and TensorFlow kept to one quiet process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
from loopback import Web


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty `$ZOO_HOME`; the working folder is empty and private too, so that `runs/` is."""
    folder = tmp_path / "home"
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("ZOO_HOME", str(folder))
    monkeypatch.chdir(work)
    yield folder


@pytest.fixture
def web() -> Iterator[Web]:
    """A server on loopback, which knows nothing yet."""
    server = Web()
    yield server
    server.close()

"""Servers on loopback, models whose files they have, and a pull that is as impatient as a test."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Puller, Web

from zoo.store.policy import Policy, policy_from_environment


@pytest.fixture
def other_web() -> Iterator[Web]:
    """A second server: another port is another origin."""
    server = Web()
    yield server
    server.close()


@pytest.fixture
def add_model(home: Path) -> Callable[..., None]:
    """Returns a function that puts a model with these files into the user's own registry."""

    def add(name: str, *files: dict[str, Any]) -> None:
        home.mkdir(exist_ok=True)
        path = home / "registry.json"
        record = json.loads(path.read_text()) if path.exists() else {"schema": 1, "models": {}}
        record["models"][name] = {
            "source": "keras", "task": "image-classification", "summary": "A net.", "files": list(files),
            "input": None, "output": {}, "metrics": {},
        }  # fmt: skip
        path.write_text(json.dumps(record))

    return add


QUICK = Policy(
    attempts=3, backoff=0.005, longest_wait=0.5, connect_timeout=2, stall_timeout=0.3, slowest=2_000, slow_after=0.3
)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Policy:
    """Makes `zoo pull` as impatient as a test: the same decisions, after shorter waits."""

    def impatient(**settings: Any) -> Policy:
        asked = policy_from_environment(**settings)
        changes = {name: getattr(asked, name) for name in ("offline", "allow_http", "mirrors", "lock_timeout")}
        return dataclasses.replace(QUICK, **changes)

    monkeypatch.setattr("zoo.store.pulling.policy_from_environment", impatient)
    return QUICK


@pytest.fixture
def puller(home: Path, quick: Policy) -> Puller:
    return Puller(home)

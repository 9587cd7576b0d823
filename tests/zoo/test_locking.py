"""Locks of whole files: who has one, and whether what it was taken on is still there."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from zoo import locking
from zoo.locking import is_at, try_lock


def test_a_lock_is_had_by_one_or_shared_by_several(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open("rb") as one, path.open("rb") as other:
        assert try_lock(one.fileno()) is True
        assert try_lock(other.fileno()) is False
        fcntl.flock(one, fcntl.LOCK_UN)
        assert try_lock(one.fileno(), shared=True) and try_lock(other.fileno(), shared=True)


def test_where_there_are_no_locks_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locking, "flock", refuse)
    with (tmp_path / "lock").open("wb") as file:
        assert try_lock(file.fileno()) is None


def test_what_was_replaced_or_removed_is_not_there_any_more(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with path.open("rb") as file:
        assert is_at(path, file.fileno())
        path.rename(tmp_path / "aside")
        assert not is_at(path, file.fileno())
        path.touch()
        assert not is_at(path, file.fileno())
        path.unlink()
        path.symlink_to("aside")
        assert not is_at(path, file.fileno())

"""How the store gets smaller: models that are not wanted any more, and what belongs to no model."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import BusyError, UsageError
from zoo.files import disk_errors, temporary_name
from zoo.registry import all_entries
from zoo.store.blobs import Blobs, is_digest
from zoo.store.inventory import pulled_name
from zoo.store.layout import Layout, layout, prepare, refuse_newer
from zoo.store.locks import for_removal, is_in_use, locked
from zoo.store.partial import is_abandoned
from zoo.store.records import read_record, record_names, remove_record

_GRACE = 3600.0  # a file this young may belong to a pull whose record is about to be written
_LEFT_ALONE = 86_400.0  # a download that broke is taken up again for so long


@dataclass(frozen=True)
class Removal:
    """Something that is, or would be, removed.

    Attributes:
        what: What it is, for people.
        path: Where it was.
        bytes: How much room it took.
    """

    what: str
    path: Path
    bytes: int


def remove(names: Sequence[str], *, dry_run: bool = False, lock_timeout: float | None = None) -> list[Removal]:
    """Removes pulled models, and returns what went; files that other models share stay.

    Args:
        names: Pulled models.
        dry_run: Only say what would go.
        lock_timeout: Seconds to wait for a pull of the same model; None: as long as it lives.

    Raises:
        NotFoundError: One of them has not been pulled; none is removed then.
        BusyError: A running process reads a file of one; that model is left as it is.
    """
    paths = layout()
    for name in names:
        if name in (entries := all_entries()) and entries[name].source == "embedded":
            raise UsageError(f"{name} ships with zoo; there is nothing to remove.")
    wanted = [pulled_name(paths, name) for name in names]
    if not dry_run:
        prepare(paths)
    return [each for name in wanted for each in _remove_model(paths, name, dry_run, lock_timeout)]


def _remove_model(paths: Layout, name: str, dry_run: bool, lock_timeout: float | None) -> list[Removal]:
    with contextlib.ExitStack() as held:
        if not dry_run:
            held.enter_context(locked(paths.lock("model", name), f"remove {name}", lock_timeout))
        record = read_record(paths, name, mend=True)
        own = {file.blob for file in record.files} - _mentioned(paths, but=name) if record else set()
        going = (
            [
                _removal(paths, digest, f"{file.name} of {name}")
                for digest, file in ((file.blob, file) for file in record.files)
                if digest in own
            ]
            if record
            else []
        )
        folders = [_folder_removal(paths.extracted / digest, f"extracted files of {name}") for digest in sorted(own)]
        removals = [*going, *(folder for folder in folders if folder.bytes)]
        if dry_run:
            return removals
        for digest in sorted(own):
            if not held.enter_context(for_removal(Blobs(paths).path(digest))) and Blobs(paths).path(digest).exists():
                raise BusyError(f"{name} is being read by a running process; wait for it, then: zoo rm {name}")
        remove_record(paths, name)
        for digest in own:
            _remove_blob(paths, digest)
        return removals or [Removal(f"record of {name}", paths.artifact(name), 0)]


def _mentioned(paths: Layout, but: str = "") -> set[str]:
    """Returns the blobs that records speak of, apart from one model's.

    Raises:
        IntegrityError: A record is damaged: what it speaks of is not known, so nothing may be removed.
    """
    records = (read_record(paths, name) for name in record_names(paths) if name != but)
    return {file.blob for record in records if record for file in record.files}


def _remove_blob(paths: Layout, digest: str) -> None:
    Blobs(paths).remove(digest)
    _remove_folder(paths, paths.extracted / digest)


def _remove_folder(paths: Layout, folder: Path) -> None:
    """Removes a folder so that nobody ever sees half of it."""
    with disk_errors(folder), contextlib.suppress(FileNotFoundError):
        aside = temporary_name(paths.tmp / folder.name)
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def collect_garbage(*, dry_run: bool = False, grace: float = _GRACE) -> list[Removal]:
    """Removes what belongs to no model, and returns it: spare blobs, damaged ones, downloads that were given up.

    Args:
        dry_run: Only say what would go.
        grace: Seconds for which a spare blob is left alone, because a pull may be about to claim it.

    Raises:
        IntegrityError: A record is damaged, or a newer version of zoo wrote the store.
    """
    paths = layout()
    refuse_newer(paths)
    found = [*_spare_blobs(paths, grace, dry_run), *_spare_folders(paths), *_given_up(paths)]
    if not dry_run:
        for removal in found:
            if removal.path.is_dir() and not removal.path.is_symlink():
                _remove_folder(paths, removal.path)
            else:
                removal.path.unlink(missing_ok=True)
    return found


def _spare_blobs(paths: Layout, grace: float, dry_run: bool) -> list[Removal]:
    """Returns the blobs of no model that nobody reads; removes them unless `dry_run`."""
    blobs, going = Blobs(paths), []
    for digest in sorted(set(blobs.all()) - _mentioned(paths)):
        with for_removal(blobs.path(digest)) as free:
            # Asked again, now that no pull can claim it.
            if not free or _age(blobs.path(digest)) < grace or digest in _mentioned(paths):
                continue
            going.append(_removal(paths, digest, "file of no model"))
            if not dry_run:
                blobs.remove(digest)
    return going


def _spare_folders(paths: Layout) -> list[Removal]:
    known = _mentioned(paths)
    folders = (path for path in _children(paths.extracted) if is_digest(path.name) and path.name not in known)
    return [
        _folder_removal(path, "extracted files of no model")
        for path in folders
        if _age(path) >= _GRACE and not is_in_use(Blobs(paths).path(path.name))
    ]


def _given_up(paths: Layout) -> list[Removal]:
    corrupt = [_folder_removal(path, "damaged file") for path in _children(paths.corrupt)]
    tmp = [path for path in _children(paths.tmp) if _age(path) >= _LEFT_ALONE]
    left = [path for path in tmp if not path.name.endswith(".partial") or is_abandoned(path)]
    return [*corrupt, *(_folder_removal(path, "download that was given up") for path in left)]


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _removal(paths: Layout, digest: str, what: str) -> Removal:
    return Removal(what, Blobs(paths).path(digest), _size_of(Blobs(paths).path(digest)))


def _folder_removal(path: Path, what: str) -> Removal:
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return Removal(what, path, sum(_size_of(each) for each in inside))


def _size_of(path: Path) -> int:
    with contextlib.suppress(OSError):
        if path.is_file() and not path.is_symlink():
            return path.stat().st_size
    return 0


def _age(path: Path) -> float:
    """Returns the seconds since anything in `path` was last changed; 0 where that cannot be told."""
    try:
        inside = path.rglob("*") if path.is_dir() else ()
        return float(time.time() - max(each.lstat().st_mtime for each in (path, *inside)))
    except OSError:
        return 0.0

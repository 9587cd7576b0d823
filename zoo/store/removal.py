"""How the store gets smaller: models that are not wanted any more, and what belongs to no model."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import BusyError, IntegrityError, UsageError
from zoo.files import disk_errors
from zoo.registry import all_entries
from zoo.registry.index import is_local, own_entries, own_registry
from zoo.store.blobs import Blobs, is_digest
from zoo.store.converted import remove_converted
from zoo.store.extracted import remove_extracted
from zoo.store.inventory import pulled_name
from zoo.store.layout import Layout, layout, prepare, readable, refuse_newer
from zoo.store.locks import Claim, for_removal, locked
from zoo.store.partial import is_abandoned, partials
from zoo.store.records import Record, read_record, record_names, record_of, remove_record
from zoo.store.registering import remove_entry

_GRACE = 3600.0  # a file this young may belong to a pull whose record is about to be written
_LEFT_ALONE = 86_400.0  # a download that broke is taken up again for so long
_PROC = Path("/proc/self")  # where there is none, nobody can say which processes live
_PATIENCE = 1.0  # who only looks whether a file is in use, holds it for less


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


def remove(names: str | Sequence[str], *, dry_run: bool = False, lock_timeout: float | None = None) -> list[Removal]:
    """Removes models from this machine, and returns what went; files that other models share stay.

    A model that was added here is forgotten altogether: its entry goes first.

    Args:
        names: Models that were pulled, or added.
        dry_run: Only say what would go.
        lock_timeout: Seconds to wait for a pull of the same model; None: as long as it lives.

    Raises:
        NotFoundError: One of them has not been pulled; none is removed then.
        UsageError: One of them ships with zoo.
        BusyError: A running process reads a file of one; that model is left as it is.
        IntegrityError: What another model has cannot be read, so that nobody knows what it shares; or a newer version
            of zoo wrote the store.
    """
    paths = layout()
    refuse_newer(paths)
    names = [names] if isinstance(names, str) else names
    for name in names:
        if name in (entries := all_entries()) and entries[name].source == "embedded":
            raise UsageError(f"{name} ships with zoo; there is nothing to remove.")
    with readable(paths):
        wanted = list(dict.fromkeys(name if is_local(name) else pulled_name(paths, name) for name in names))
        if dry_run:
            return [each for name in wanted for each in _would_remove(paths, name)]
        prepare(paths)
        return [each for name in wanted for each in _remove_model(paths, name, lock_timeout)]


def _would_remove(paths: Layout, name: str) -> list[Removal]:
    record = _all_of(paths, name)
    return _removals(paths, name, record, _own_blobs(paths, name, record))


def _all_of(paths: Layout, name: str) -> Record | None:
    """Returns which blobs are a model's: by its record; of a model that was added here, also by its entry."""
    record = read_record(paths, name, mend=True)
    entry = own_entries().get(name)
    if entry is None or entry.source != "local":
        return record
    known = record.files if record else ()
    blobs = {file.blob for file in known}
    return Record(name, (*known, *(file for file in record_of(entry).files if file.blob not in blobs)))


def _remove_model(paths: Layout, name: str, lock_timeout: float | None) -> list[Removal]:
    with locked(paths.lock("model", name), f"remove {name}", lock_timeout), contextlib.ExitStack() as held:
        record = _all_of(paths, name)
        claims = {
            digest: held.enter_context(for_removal(Blobs(paths).path(digest), _PATIENCE))
            for digest in _own_blobs(paths, name, record)
        }
        if not all(claim.free for claim in claims.values()):
            raise BusyError(f"{name} is being read by a running process; wait for it, then: zoo rm {name}")
        # Asked again, now that nobody can claim them: another model may have just begun to share one. What another has
        # just ceased to share is not held, and left to `zoo gc`.
        own = [digest for digest in _own_blobs(paths, name, record) if digest in claims]
        removals = _removals(paths, name, record, own)
        if is_local(name):
            remove_entry(paths, name)
        remove_record(paths, name)
        for digest in own:
            _remove_blob(paths, digest, claims[digest])
    return removals


def _own_blobs(paths: Layout, name: str, record: Record | None) -> list[str]:
    """Returns the blobs that are this model's alone."""
    return sorted({file.blob for file in record.files} - _mentioned(paths, but=name)) if record else []


def _removals(paths: Layout, name: str, record: Record | None, own: Sequence[str]) -> list[Removal]:
    """Returns what removing a model takes away, where `own` are the blobs that go with it."""
    files = [file for file in record.files if file.blob in own] if record else []
    sizes = {file.blob: _removal(Blobs(paths).path(file.blob), f"{file.name} of {name}") for file in files}
    folders = [
        _removal(folder / file.blob, f"{how} {file.name} of {name}")
        for file in files
        for how, folder in (("extracted", paths.extracted), ("converted", paths.converted))
        if (folder / file.blob).is_dir()
    ]
    entry = [Removal(f"entry of {name}", own_registry(), 0)] if is_local(name) else []
    return [*sizes.values(), *folders, *entry, _removal(paths.artifact(name), f"record of {name}")]


def _mentioned(paths: Layout, but: str = "") -> set[str]:
    """Returns the blobs that records speak of, and the entries of what was added here, apart from one model's.

    Raises:
        IntegrityError: A record or the user's registry is damaged: what it speaks of is not known, so nothing may be
            removed.
    """
    records = [read_record(paths, name) for name in record_names(paths) if name != but]
    added = [record_of(entry) for entry in own_entries().values() if entry.source == "local" and entry.name != but]
    return {file.blob for record in (*records, *added) if record for file in record.files}


def _remove_blob(paths: Layout, digest: str, claim: Claim) -> bool:
    """Removes a blob and what was made of it; says whether that was still right to do.

    Asked under the lock that pulls commit under: one may have put the file there anew since it was claimed.
    """
    with locked(paths.lock("blob", digest), "remove a file"):
        if not claim.still_holds() or digest in _mentioned(paths):
            return False
        Blobs(paths).remove(digest)
        remove_extracted(paths, digest)
        remove_converted(paths, digest)
        return True


def discard(paths: Layout, digest: str) -> None:
    """Removes a blob that turned out to be of no use, unless a model has it or a process reads it."""
    with contextlib.suppress(IntegrityError), for_removal(Blobs(paths).path(digest)) as claim:
        if claim.free:
            _remove_blob(paths, digest, claim)


def collect_garbage(*, everything: bool = False, dry_run: bool = False) -> list[Removal]:
    """Removes what belongs to no model, and returns it: spare blobs, damaged ones, downloads that were given up.

    Args:
        everything: Also spare blobs of the last hour, and downloads that broke in the last day and would be taken up
            again by a pull. What a running process works on stays.
        dry_run: Only say what would go.

    Raises:
        IntegrityError: A record is damaged, or a newer version of zoo wrote the store.
    """
    paths = layout()
    refuse_newer(paths)
    with disk_errors(paths.home, doing="clean up"):
        found = list(_spare(paths, 0.0 if everything else _GRACE, dry_run))
        left = [*_damaged(paths), *_given_up(paths, 0.0 if everything else _LEFT_ALONE)]
        if not dry_run:
            for removal in left:
                _delete(removal.path)
        return found + left


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _spare(paths: Layout, grace: float, dry_run: bool) -> Iterator[Removal]:
    """Yields blobs of no model that nobody reads, and what was made of such; removes them unless `dry_run`."""
    blobs = Blobs(paths)
    made = {path.name.removesuffix(".json") for path in (*_children(paths.extracted), *_children(paths.converted))}
    for digest in sorted({*blobs.all(), *filter(is_digest, made)} - _mentioned(paths)):
        with for_removal(blobs.path(digest)) as claim:
            folders = (paths.extracted / digest, paths.converted / digest)
            places = [place for place in (blobs.path(digest), *folders) if place.exists()]
            if not claim.free or any(_age(place) < grace for place in places):
                continue
            removals = [_removal(place, "file of no model") for place in places]
            if (digest not in _mentioned(paths)) if dry_run else _remove_blob(paths, digest, claim):
                yield from removals


def _damaged(paths: Layout) -> list[Removal]:
    return [_removal(path, "damaged file") for path in _children(paths.corrupt)]


def _given_up(paths: Layout, age: float) -> list[Removal]:
    """Returns what broken pulls have left, unless somebody may yet take it up."""
    downloads = [path for path in partials(paths.tmp) if is_abandoned(path) and _age(path) >= age]
    folders = (paths.tmp, paths.blobs, paths.about, paths.extracted, paths.corrupt)
    names = [*paths.artifacts.rglob(".*.tmp"), *(path for folder in folders for path in folder.glob(".*.tmp"))]
    unfinished = [path for path in names if _age(path) >= age and not _is_of_the_living(path)]
    return [
        *(_removal(path, "download that broke") for path in downloads),
        *(_removal(path, "unfinished file") for path in unfinished),
    ]


def _is_of_the_living(temporary: Path) -> bool:
    """Returns whether the process whose number is in a temporary name may be at work; in doubt, for a day, it is."""
    *_, pid, _, _ = temporary.name.split(".")
    return _age(temporary) < _LEFT_ALONE and (
        not pid.isdecimal() or Path(f"/proc/{pid}").exists() or not _PROC.is_dir()
    )


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _removal(path: Path, what: str) -> Removal:
    return Removal(what, path, sum(map(_size_of, _inside(path))))


def _inside(path: Path) -> Iterable[Path]:
    """Returns a file, or all that is in a folder; links are not followed, and what goes meanwhile is passed over."""
    with contextlib.suppress(FileNotFoundError):
        return (path, *path.rglob("*")) if path.is_dir() and not path.is_symlink() else (path,)
    return (path,)


def _size_of(path: Path) -> int:
    with contextlib.suppress(OSError):
        if path.is_file() and not path.is_symlink():
            return path.stat().st_size
    return 0


def _age(path: Path) -> float:
    """Returns the seconds since anything in `path` was last changed; 0 where that cannot be told."""
    try:
        return float(time.time() - max(each.lstat().st_mtime for each in _inside(path)))
    except OSError:
        return 0.0

"""Pulling: what a model needs is decided first, then fetched; what is here already is not fetched again."""

from __future__ import annotations

import contextlib
import datetime
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.errors import DiskError, IntegrityError, NotFoundError, OfflineError, UnsafeFileError
from zoo.files import disk_errors, flush, make_folder, temporary_name
from zoo.progress import Progress, Silent
from zoo.registry import Entry, FileSpec, find_entry
from zoo.store.archives import Member, extract
from zoo.store.artifact import Artifact
from zoo.store.blobs import Blobs
from zoo.store.embedded import embedded_artifact
from zoo.store.layout import Layout, layout, prepare, refuse_link, refuse_newer
from zoo.store.locks import in_use, locked
from zoo.store.policy import Policy, policy_from_environment
from zoo.store.records import Record, StoredFile, read_record, record_names, write_record

Action = Literal["keep", "adopt", "fetch"]

_ROOM = 1 << 20


@dataclass(frozen=True)
class PullStep:
    """What is done about one file of a model.

    Attributes:
        file: The file, as the registry describes it.
        action: `keep`: it is here; `adopt`: another model brought the same bytes; `fetch`: it must come.
        blob: Its sha256 (hex), where it is here.
        bytes: Its size, where that is known.
    """

    file: FileSpec
    action: Action
    blob: str | None
    bytes: int | None


@dataclass(frozen=True)
class PullPlan:
    """What pulling a model would do.

    Attributes:
        name: The model.
        steps: What is done about each of its files.
        unpublished: Files that it needs too, but of which nobody published an address.
    """

    name: str
    steps: tuple[PullStep, ...]
    unpublished: tuple[FileSpec, ...] = ()

    @property
    def bytes(self) -> int | None:
        """Returns how many bytes must come; None where the size of a file is not known beforehand."""
        sizes = [step.bytes for step in self.steps if step.action == "fetch"]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def plan_pull(name: str, *, headless: bool = False) -> PullPlan:
    """Returns what `pull` with the same arguments would do, and does none of it.

    Raises:
        NotFoundError: The registry knows no such model, or nobody published where its files are.
    """
    entry = find_entry(name)
    if entry.source == "embedded":
        return PullPlan(entry.name, tuple(PullStep(file, "keep", None, file.bytes) for file in entry.files))
    paths = layout()
    return _plan(entry, paths, read_record(paths, entry.name, mend=True), headless, Silent())


def pull(
    name: str,
    *,
    headless: bool = False,
    offline: bool | None = None,
    allow_http: bool = False,
    mirror: str | None = None,
    lock_timeout: float | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Returns the verified files of the model that the registry knows as `name`, fetching what is not here yet.

    Args:
        name: The model's name.
        headless: Fetch the smaller file without the classifier, where there is one.
        offline: Open no connection; None: as `ZOO_OFFLINE` says.
        allow_http: Use plain http also for files whose hash nobody published.
        mirror: `https://published.example/=https://mirror.example/copy/,...`; None: as `ZOO_MIRROR` says.
        lock_timeout: Seconds to wait for another process that pulls the same; None: as long as it lives.
        progress: Told about bytes as they come.

    Raises:
        NotFoundError: No such model, or no address gave its files; `OfflineError` where none may be asked.
        IntegrityError: What came, or what is here, is not the file that was meant.
        UnsafeFileError: An archive with something in it that could do harm.
        DiskError: There is no room; what has come is kept, and taken up by the next call.
        BusyError: Another process held the model for too long.

    >>> sorted(pull("letters-cnn").files)
    ['model']
    """
    policy = policy_from_environment(offline=offline, allow_http=allow_http, mirror=mirror, lock_timeout=lock_timeout)
    return pull_entry(find_entry(name), headless=headless, policy=policy, progress=progress)


def pull_entry(
    entry: Entry, *, headless: bool = False, policy: Policy | None = None, progress: Progress | None = None
) -> Artifact:
    """Returns the verified files of `entry`, as `pull` does."""
    if entry.source == "embedded":
        return embedded_artifact(entry)
    policy, progress, paths = policy or policy_from_environment(), progress or Silent(), layout()
    with disk_errors(paths.home):
        return _pulled(entry, paths, headless, policy, progress)


def _pulled(entry: Entry, paths: Layout, headless: bool, policy: Policy, progress: Progress) -> Artifact:
    refuse_newer(paths)
    record = read_record(paths, entry.name, mend=True)
    plan = _plan(entry, paths, record, headless, progress)
    if record and all(step.action == "keep" for step in plan.steps) and _is_extracted(paths, record, plan):
        return _artifact(entry, paths, record, plan)  # nothing is written, so a store may be read-only
    if policy.offline and any(step.action == "fetch" for step in plan.steps):
        raise OfflineError(_offline_message(entry, paths))
    prepare(paths)
    with locked(paths.lock("model", entry.name), f"pull {entry.name}", policy.lock_timeout):
        record = read_record(paths, entry.name, mend=True)  # while this waited, another may have pulled it
        plan = _plan(entry, paths, record, headless, progress)
        record = _carry_out(plan, entry, paths, record, policy, progress)
    return _artifact(entry, paths, record, plan)


def needed_files(entry: Entry, headless: bool) -> tuple[FileSpec, ...]:
    """Returns which files of `entry` are needed: those of the whole model, or of all below its classifier."""
    spare = "weights" if headless and any(file.role == "weights_notop" for file in entry.files) else "weights_notop"
    return tuple(file for file in entry.files if file.role != spare)


def _plan(entry: Entry, paths: Layout, record: Record | None, headless: bool, progress: Progress) -> PullPlan:
    files = needed_files(entry, headless)
    published = [file for file in files if file.urls]
    if not published:
        told = "".join(f" {file.name}: {file.reported}." for file in files if file.reported)
        raise NotFoundError(f"Nobody published where the files of {entry.name!r} are.{told} See: zoo show {entry.name}")
    steps = tuple(_step(file, Blobs(paths), record, progress) for file in published)
    return PullPlan(entry.name, steps, tuple(file for file in files if not file.urls))


def _step(file: FileSpec, blobs: Blobs, record: Record | None, progress: Progress) -> PullStep:
    stored = record.file(file.name) if record else None
    if stored and stored.published == file.hash and blobs.trusted(stored.blob):
        return PullStep(file, "keep", stored.blob, stored.bytes)
    found = blobs.find(file.hash, dict.fromkeys(file.urls))
    if found and blobs.trusted(found):
        return PullStep(file, "adopt", found, blobs.size(found))
    return PullStep(file, "fetch", None, file.bytes)


def _carry_out(
    plan: PullPlan, entry: Entry, paths: Layout, record: Record | None, policy: Policy, progress: Progress
) -> Record:
    """Fetches what is missing, and writes what the model now has. Nothing of that can be removed meanwhile."""
    _refuse_without_room(plan, paths)
    files: list[StoredFile] = []
    with contextlib.ExitStack() as held:
        with _Meter(progress, plan) as meter:
            for number, step in enumerate(plan.steps):
                files.append(_obtain(step, entry, paths, record, policy, meter.of(number)))
                held.enter_context(in_use(Blobs(paths).path(files[-1].blob)))
        files = [_extracted(file, paths, progress) if file.role == "archive" else file for file in files]
        others = [file for file in record.files if not any(file.name == new.name for new in files)] if record else []
        record = Record(entry.name, (*files, *others))
        write_record(paths, record)
    return record


def _refuse_without_room(plan: PullPlan, paths: Layout) -> None:
    needed = sum(step.bytes or 0 for step in plan.steps if step.action == "fetch")
    free = shutil.disk_usage(paths.home).free
    if needed and needed + _ROOM > free:
        raise DiskError(
            f"{plan.name} needs {needed:,} bytes below {paths.home}, where {free:,} are free. "
            "Free some (zoo gc, zoo rm NAME), or set ZOO_HOME to a larger disk."
        )


def _obtain(
    step: PullStep, entry: Entry, paths: Layout, record: Record | None, policy: Policy,
    meter: Callable[[int, int | None], None],
) -> StoredFile:  # fmt: skip
    from zoo.store.download import Wanted, download  # here: HTTP takes long to import, and often nothing must come

    file, known = step.file, record.file(step.file.name) if record else None
    if step.action == "keep" and known:
        return known
    if step.blob:
        size, about = Blobs(paths).size(step.blob) or 0, Blobs(paths).about(step.blob)
        return _stored(file, step.blob, size, about.url if about else None)
    first = known if known and known.published is None and file.hash is None else None
    wanted = Wanted(file.name, file.urls, f"sha256:{first.blob}" if first else file.hash, file.bytes)
    try:
        with locked(paths.lock("file", wanted.key), f"fetch {file.name}", policy.lock_timeout):
            found = Blobs(paths).find(wanted.hash, dict.fromkeys(file.urls))
            if found:  # another model's pull has just brought it
                return _stored(file, found, Blobs(paths).size(found) or 0, None)
            fetched = download(wanted, paths, policy, meter)
    except IntegrityError as error:
        if first is None:
            raise
        raise IntegrityError(
            f"{error}\n{file.name} has no published hash, so it must be what first came, on {first.fetched}. If its "
            f"publisher has changed it since, take the new one: zoo rm {entry.name}, then zoo pull {entry.name}"
        ) from error
    return _stored(file, fetched.blob, fetched.bytes, fetched.url)


def _stored(file: FileSpec, blob: str, size: int, url: str | None) -> StoredFile:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return StoredFile(file.role, file.name, blob, size, file.hash, file.hash_from, url, now)


def _extracted(file: StoredFile, paths: Layout, progress: Progress) -> StoredFile:
    """Returns the archive `file` with its members, which are below `extracted/` then."""
    target = paths.extracted / file.blob
    if file.members is not None and has_members(target, file.members):
        return file
    make_folder(paths.extracted)
    refuse_link(target)
    temporary = temporary_name(paths.tmp / file.blob)
    try:
        members = extract(Blobs(paths).path(file.blob), temporary, progress=progress)
    except (UnsafeFileError, IntegrityError):
        Blobs(paths).remove(file.blob)  # nothing of it is of use
        raise
    _put_in_place(temporary, target, members)
    return StoredFile(**{**vars(file), "members": members})


def _put_in_place(folder: Path, target: Path, members: Sequence[Member]) -> None:
    """Makes an extracted folder visible, in place of a damaged one; an equal one of another process may win."""
    try:
        with disk_errors(target):
            if target.exists() and not has_members(target, members):
                target.rename(temporary_name(folder.with_name(target.name)))
            if not target.exists():
                with contextlib.suppress(FileExistsError):
                    folder.rename(target)
                flush(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def has_members(folder: Path, members: Sequence[Member]) -> bool:
    """Returns whether an extracted folder has all its members, in their sizes. Their bytes are not read."""
    try:
        return all((folder / member.path).lstat().st_size == member.bytes for member in members)
    except OSError:
        return False


def _is_extracted(paths: Layout, record: Record, plan: PullPlan) -> bool:
    files = [record.file(step.file.name) for step in plan.steps]
    return all(
        file is not None and (file.members is None or has_members(paths.extracted / file.blob, file.members))
        for file in files
    )


def _artifact(entry: Entry, paths: Layout, record: Record, plan: PullPlan) -> Artifact:
    stored = [file for step in plan.steps if (file := record.file(step.file.name))]
    folders = [paths.extracted / file.blob for file in stored if file.members is not None]
    return Artifact(
        entry, {file.role: Blobs(paths).path(file.blob) for file in stored}, folders[0] if folders else None
    )


def _offline_message(entry: Entry, paths: Layout) -> str:
    here = record_names(paths)
    listed = f"Here are: {', '.join(here)}." if here else "No model has been pulled yet."
    return (
        f"{entry.name} is not on this machine, and the network may not be used (--offline, ZOO_OFFLINE). {listed} "
        f"When online: zoo pull {entry.name}"
    )


class _Meter:
    """Adds up the bytes of several files for one progress, which never goes back."""

    def __init__(self, progress: Progress, plan: PullPlan) -> None:
        self._progress = progress
        fetched = [number for number, step in enumerate(plan.steps) if step.action == "fetch"]
        self._totals = {number: plan.steps[number].bytes for number in fetched}
        self._done = dict.fromkeys(fetched, 0)
        self._shown, self._total = 0, plan.bytes

    def __enter__(self) -> _Meter:
        if self._done:
            self._progress.start(self._total, "bytes")
        return self

    def __exit__(self, *_: object) -> None:
        if self._done:
            self._progress.close()

    def of(self, number: int) -> Callable[[int, int | None], None]:
        """Returns what is told about the file `number`."""

        def tell(done: int, total: int | None) -> None:
            self._done[number] = done
            if self._totals.get(number) is None:
                self._totals[number] = total
            totals = [each for each in self._totals.values() if each is not None]
            if len(totals) == len(self._totals) and sum(totals) != self._total:
                self._total = sum(totals)
                self._progress.expect(self._total)
            if (more := sum(self._done.values()) - self._shown) > 0:
                self._progress.advance(more)
                self._shown += more

        return tell

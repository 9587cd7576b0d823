"""Pulling: a plan is made, then carried out; what is here already is not fetched again."""

from __future__ import annotations

import contextlib
import datetime

from zoo.errors import BusyError, IntegrityError, OfflineError, UnsafeFileError
from zoo.files import disk_errors
from zoo.progress import Progress, Silent
from zoo.registry import Entry, FileSpec, find_entry
from zoo.store.artifact import Artifact
from zoo.store.blobs import Blobs
from zoo.store.embedded import embedded_artifact
from zoo.store.extracted import ensure_extracted, is_extracted
from zoo.store.hub import cached_module
from zoo.store.layout import Layout, layout, prepare, readable, refuse_newer, refuse_without_room, warn_of_other_writers
from zoo.store.locks import in_use, locked
from zoo.store.meter import Meter, Tell
from zoo.store.planning import PullPlan, PullStep, Wanted, lost, plan_entry, wanted_file
from zoo.store.policy import Policy, policy_from_environment
from zoo.store.records import Record, StoredFile, read_record, record_names, write_record
from zoo.store.removal import discard

_TRIES = 5


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
        progress: Told about bytes as they come, and as archives are extracted.

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
    return pull_entry(find_entry(name), headless=headless, policy=policy, progress=progress, shared=False)


def pull_entry(
    entry: Entry,
    *,
    headless: bool = False,
    policy: Policy | None = None,
    progress: Progress | None = None,
    shared: bool = True,
) -> Artifact:
    """Returns the verified files of `entry`, as `pull` does.

    Args:
        entry: The entry.
        headless: As of `pull`.
        policy: What may be fetched, and how.
        progress: As of `pull`.
        shared: Whether a module that the store does not have may come from the cache of `tensorflow_hub`.
    """
    if entry.source == "embedded":
        return embedded_artifact(entry)
    policy, progress, paths = policy or policy_from_environment(), progress or Silent(), layout()
    refuse_newer(paths)
    warn_of_other_writers(paths)
    with disk_errors(paths.home), readable(paths):
        record = read_record(paths, entry.name, mend=True)
        plan = plan_entry(entry, paths, record, headless=headless)
        if record and _is_all_here(plan, paths):
            return _artifact(entry, paths, record, plan)  # nothing is written: a store may be read-only
        if shared and (module := cached_module(entry)) is not None:
            return Artifact(entry, {}, module)
        if policy.offline and plan.missing != 0:
            raise _offline(entry, paths)
        prepare(paths)
        with locked(paths.lock("model", entry.name), f"pull {entry.name}", policy.lock_timeout):
            record = read_record(paths, entry.name, mend=True)  # while this waited, another may have pulled it
            plan = plan_entry(entry, paths, record, headless=headless)
            record = _Pull(entry, paths, policy, progress, record).carry_out(plan)
        return _artifact(entry, paths, record, plan)


def _is_all_here(plan: PullPlan, paths: Layout) -> bool:
    return all(
        step.action == "keep" and step.blob and (step.file.role != "archive" or is_extracted(paths, step.blob))
        for step in plan.steps
    )


def _artifact(entry: Entry, paths: Layout, record: Record, plan: PullPlan) -> Artifact:
    stored = [file for step in plan.steps if (file := record.file(step.file.name))]
    archives = [file for file in stored if file.role == "archive"]
    folder = paths.extracted / archives[0].blob if archives else None
    return Artifact(entry, {file.role: Blobs(paths).path(file.blob) for file in stored}, folder, plan.unpublished)


def _offline(entry: Entry, paths: Layout) -> OfflineError:
    here = record_names(paths)
    listed = f"Here are: {', '.join(here)}." if here else "No model has been pulled yet."
    what = "is not whole" if entry.name in here else "is not"
    return OfflineError(
        f"{entry.name} {what} on this machine, and the network may not be used (--offline, ZOO_OFFLINE). {listed} "
        f"When online: zoo pull {entry.name}"
    )


class _Pull:
    """One pull, under the lock of its model. What it obtains is held against removal until its record is written."""

    def __init__(self, entry: Entry, paths: Layout, policy: Policy, progress: Progress, record: Record | None) -> None:
        self._entry = entry
        self._paths = paths
        self._policy = policy
        self._progress = progress
        self._record = record
        self._blobs = Blobs(paths)
        self._held = contextlib.ExitStack()

    def carry_out(self, plan: PullPlan) -> Record:
        """Returns the record of what the model has, after everything in it was obtained."""
        refuse_without_room(sum(step.missing or 0 for step in plan.steps), plan.name, self._paths.home)
        with self._held:
            with Meter(self._progress, plan) as meter:
                files = [self._obtain(step, meter.of(number)) for number, step in enumerate(plan.steps)]
            self._extract([file for file in files if file.role == "archive"])
            names = {file.name for file in files}
            others = [file for file in self._record.files if file.name not in names] if self._record else []
            record = Record(self._entry.name, (*files, *others))
            write_record(self._paths, record)
        return record

    def _obtain(self, step: PullStep, tell: Tell) -> StoredFile:
        """Returns a file of the model, which is whole and held."""
        file, known = step.file, self._record.file(step.file.name) if self._record else None
        if step.blob and self._hold(step.blob):
            if step.action in ("keep", "check") and known:
                return known
            return self._stored(file, step.blob)
        for _ in range(_TRIES):  # a removal may take what has just come, in the moment before it is held
            blob = self._fetch(file, known, tell)
            if self._hold(blob):
                return self._stored(file, blob)
        raise BusyError(
            f"{file.name} came {_TRIES} times, and was gone or changed each time before it could be kept. See what "
            f"else works on {self._paths.home}, then: zoo pull {self._entry.name}"
        )

    def _hold(self, blob: str) -> bool:
        """Holds a blob, if it is there and whole."""
        try:
            self._held.enter_context(in_use(self._blobs.path(blob)))
        except FileNotFoundError:
            return False
        if self._blobs.is_unchanged(blob):
            return True
        self._blobs.set_aside_if_resized(blob)
        try:
            return self._blobs.verify(blob)
        except FileNotFoundError:
            return False

    def _fetch(self, file: FileSpec, known: StoredFile | None, tell: Tell) -> str:
        """Returns the sha256 of a file that has come, or that another pull has brought meanwhile."""
        if not file.urls:  # it was there, and turned out to be damaged
            raise lost(self._entry, file)
        from zoo.store.download import download  # here: HTTP takes long to import, and often nothing must come

        wanted = wanted_file(file)
        first = known if known and file.hash is None and known.key == wanted.key else None
        if first:  # nobody published a hash: it must stay what it was when it first came
            wanted = Wanted(file.name, file.urls, f"sha256:{first.blob}", file.bytes)
        if self._policy.offline:
            raise _offline(self._entry, self._paths)
        with locked(self._paths.lock("file", wanted.key), f"fetch {file.name}", self._policy.lock_timeout):
            if found := self._blobs.find(wanted.hash, wanted.key, file.bytes):
                return found
            try:
                return download(wanted, self._paths, self._policy, tell, key=wanted_file(file).key)
            except IntegrityError as error:
                if first is None:
                    raise
                raise IntegrityError(
                    f"{error}\n{file.name} has no published hash, so it must be what first came, on {first.fetched}. "
                    f"If its publisher has changed it since, take the new one: zoo rm {self._entry.name}, then zoo "
                    f"pull {self._entry.name}"
                ) from error

    def _stored(self, file: FileSpec, blob: str) -> StoredFile:
        about = self._blobs.about(blob)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return StoredFile(
            role=file.role,
            name=file.name,
            blob=blob,
            bytes=self._blobs.path(blob).stat().st_size,
            published=file.hash,
            hash_from=file.hash_from,
            key=wanted_file(file).key,
            url=about.url if about else None,
            fetched=now,
        )

    def _extract(self, archives: list[StoredFile]) -> None:
        for file in archives:
            try:
                ensure_extracted(self._paths, file.blob, self._progress, f"{file.name} of {self._entry.name}")
            except (UnsafeFileError, IntegrityError):
                self._held.close()
                discard(self._paths, file.blob)  # of no use to this model; others may have it for something else
                raise

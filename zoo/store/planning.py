"""What pulling a model would do, decided without doing any of it: nothing is fetched, moved or read through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo.errors import NotFoundError
from zoo.registry import Entry, FileSpec, find_entry
from zoo.store.blobs import Blobs
from zoo.store.layout import Layout, layout, readable, short_key
from zoo.store.partial import bytes_in, partials
from zoo.store.records import Record, read_record

Action = Literal["keep", "check", "adopt", "fetch"]


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
        name: Its name; the ending says what it must begin with.
        urls: Its published addresses, the primary first.
        hash: What its bytes must have, as in `sha256:<hex>`; None where nobody published one.
        bytes: Its size, where that is known.
    """

    name: str
    urls: tuple[str, ...]
    hash: str | None = None
    bytes: int | None = None

    @property
    def key(self) -> str:
        """Returns what stands for the file: the same for all who want it."""
        return short_key(self.hash) if self.hash else short_key(*self.urls)


@dataclass(frozen=True)
class PullStep:
    """What is done about one file of a model.

    Attributes:
        file: The file, as the registry describes it.
        action: `keep`: it is here; `check`: it is here, but was touched, and is read through; `adopt`: another model
            brought the same bytes; `fetch`: it must come.
        blob: Its sha256 (hex), where it is here.
        bytes: Its size, where that is known.
        begun: How many bytes of it came before a pull broke.
    """

    file: FileSpec
    action: Action
    blob: str | None
    bytes: int | None
    begun: int = 0

    @property
    def missing(self) -> int | None:
        """Returns how many bytes must come; None where nobody knows."""
        if self.action != "fetch":
            return 0
        return None if self.bytes is None else max(0, self.bytes - self.begun)


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
    def missing(self) -> int | None:
        """Returns how many bytes must come; None where nobody knows."""
        sizes = [step.missing for step in self.steps]
        return None if None in sizes else sum(size or 0 for size in sizes)


def plan_pull(name: str, *, headless: bool = False) -> PullPlan:
    """Returns what `pull` with the same arguments would do, and does none of it.

    Raises:
        NotFoundError: The registry knows no such model, or nobody published where its files are.

    >>> [step.action for step in plan_pull("letters-cnn").steps]
    ['keep']
    """
    entry = find_entry(name)
    if entry.source == "embedded":
        return PullPlan(entry.name, tuple(PullStep(file, "keep", None, file.bytes) for file in entry.files))
    paths = layout()
    with readable(paths):
        return plan_entry(entry, paths, read_record(paths, entry.name, mend=True), headless=headless)


def plan_entry(entry: Entry, paths: Layout, record: Record | None, *, headless: bool) -> PullPlan:
    """Returns what pulling `entry` would do, where `record` is what was pulled of it.

    Raises:
        NotFoundError: Nobody published where its files are; or it was added here, and a file of it is lost.
    """
    files = needed_files(entry, headless=headless)
    published = [file for file in files if file.urls or entry.source == "local"]
    if not published:
        told = "".join(f" {file.name}: {file.reported}." for file in files if file.reported)
        raise NotFoundError(f"Nobody published where the files of {entry.name!r} are.{told} See: zoo show {entry.name}")
    steps = tuple(_step(file, paths, record) for file in published)
    for step in steps:
        if step.action == "fetch" and not step.file.urls:
            raise lost(entry, step.file)
    return PullPlan(entry.name, steps, tuple(file for file in files if file not in published))


def needed_files(entry: Entry, *, headless: bool) -> tuple[FileSpec, ...]:
    """Returns which files of `entry` are needed: those of the whole model, or of all below its classifier.

    Where there are weights of one kind only, they are needed for both.
    """
    spare = "weights" if headless else "weights_notop"
    other = "weights_notop" if headless else "weights"
    has_other = any(file.role == other for file in entry.files)
    return tuple(file for file in entry.files if file.role != spare or not has_other)


def wanted_file(file: FileSpec) -> Wanted:
    """Returns a file of the registry as it is fetched."""
    return Wanted(file.name, file.urls, file.hash, file.bytes)


def lost(entry: Entry, file: FileSpec) -> NotFoundError:
    """Returns what is to be said of a file that was added here, and that no address can bring back."""
    return NotFoundError(
        f"{entry.name} was added from this machine, and its file {file.name} is not in the store any more, or not as "
        f"it was. Add it again: zoo add PATH --name {entry.name} --replace"
    )


def _step(file: FileSpec, paths: Layout, record: Record | None) -> PullStep:
    blobs, key = Blobs(paths), wanted_file(file).key
    stored = record.file(file.name) if record else None
    if stored and (stored.published, stored.key) == (file.hash, key) and file.bytes in (None, stored.bytes):
        if blobs.is_unchanged(stored.blob):
            return PullStep(file, "keep", stored.blob, stored.bytes)
        if blobs.size(stored.blob) == stored.bytes:
            return PullStep(file, "check", stored.blob, stored.bytes)
    found = blobs.find(file.hash, key, file.bytes)
    if found:
        return PullStep(file, "adopt", found, blobs.size(found))
    begun = max((bytes_in(each) for each in partials(paths.tmp, key)), default=0)
    return PullStep(file, "fetch", None, file.bytes, begun)

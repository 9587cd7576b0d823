"""Modules of TF Hub by their addresses: from the store, the cache of `tensorflow_hub`, or the network, in this order.

What the registry knows is pulled as any model of it. The rest comes by the store's own rules too: mirrors, limits, its
extractor. Only where an address gives no archive that way is `tensorflow_hub` asked, which knows others.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import IntegrityError, NotFoundError, OfflineError, UsageError
from zoo.files import disk_errors, temporary_name
from zoo.progress import Progress, Silent
from zoo.registry import Entry, FileSpec, find_entry
from zoo.store.archives import extract
from zoo.store.blobs import Blobs
from zoo.store.hub import HUB_CACHE, compressed, handle_name, hub_module, resolved_module
from zoo.store.layout import layout, prepare, refuse_newer
from zoo.store.locks import locked
from zoo.store.meter import Meter
from zoo.store.planning import PullPlan, PullStep, wanted_file
from zoo.store.policy import Policy, refusal, shown
from zoo.store.pulling import pull_entry
from zoo.store.removal import discard

_log = logging.getLogger("zoo")


@contextlib.contextmanager
def module_folder(handle: str, policy: Policy, progress: Progress | None = None) -> Iterator[Path]:
    """Gives the folder that a module is in, or lies below; it may be gone when the context is left.

    Args:
        handle: The module's address.
        policy: What may be fetched, and how.
        progress: Told about bytes as they come, and as archives are extracted.

    Raises:
        UsageError: The address is one of plain http.
        OfflineError: It is not on this machine, and no connection may be opened.
        NotFoundError: It cannot be had.
        IntegrityError: What came is damaged.
        UnsafeFileError: What came could do harm.
        DiskError: There is no room for it.
    """
    if reason := refusal(handle, pinned=False, policy=policy):
        raise UsageError(
            f"{shown(handle)} is not asked: {reason.partition(':')[0]}. Give its address with https://, or the folder "
            "of the module, if you have it."
        )
    with contextlib.ExitStack() as held:
        yield _obtained(handle, policy, progress or Silent(), held)


def _obtained(handle: str, policy: Policy, progress: Progress, held: contextlib.ExitStack) -> Path:
    if (entry := _known(handle)) is not None:
        artifact = pull_entry(entry, policy=policy, progress=progress)
        held.enter_context(artifact.reading())
        if artifact.folder is not None:
            return artifact.folder
    if (found := hub_module(handle)) is not None:
        return found
    if policy.offline:
        raise OfflineError(
            f"{shown(handle)} is neither known to the registry nor in the cache of tensorflow_hub ({HUB_CACHE}), and "
            "the network may not be used. When online: zoo add, again; or give the module's folder, if you have it."
        )
    try:
        blob = _fetched(handle, policy, progress)
    except (NotFoundError, IntegrityError) as error:  # the latter where it is no archive: the page of one, say
        if any(handle.startswith(prefix) for prefix, _ in policy.mirrors):  # nobody else is to be asked
            raise
        _log.warning("%s\nNow tensorflow_hub is asked.", error)
        return resolved_module(handle)
    return held.enter_context(_extracted(handle, blob, progress))


def _known(handle: str) -> Entry | None:
    """Returns the entry of a module that the registry knows."""
    with contextlib.suppress(NotFoundError, UsageError):
        entry = find_entry(handle)
        return entry if entry.source == "tfhub" else None
    return None


def _fetched(handle: str, policy: Policy, progress: Progress) -> str:
    """Returns the sha256 of the blob that the archive of a module is now."""
    from zoo.store.download import download  # here: HTTP takes long to import, and often nothing must come

    file = FileSpec("archive", f"{handle_name(handle)}.tar.gz", (compressed(handle),))
    plan, wanted, paths = PullPlan(handle, (PullStep(file, "fetch", None, None),)), wanted_file(file), layout()
    refuse_newer(paths)
    with disk_errors(paths.home):
        prepare(paths)
        lock = locked(paths.lock("file", wanted.key), f"fetch {file.name}", policy.lock_timeout)
        with lock, Meter(progress, plan) as meter:
            return download(wanted, paths, policy, meter.of(0))


@contextlib.contextmanager
def _extracted(handle: str, blob: str, progress: Progress) -> Iterator[Path]:
    """Gives a folder with what is in an archive; neither is kept afterwards, for what is made of it is."""
    paths = layout()
    folder = temporary_name(paths.tmp / "module")
    try:
        try:
            extract(Blobs(paths).path(blob), folder, progress=progress, name=shown(handle))
        finally:
            discard(paths, blob)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

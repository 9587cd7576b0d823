"""Judges what lies in `assets/` of a `.keras` archive: the SavedModels of layers that are such, and nothing else.

A layer tells in its config the digest of its SavedModel, and no path: Keras gives it the folder that the archive has
for it. Every SavedModel in an archive must be one that a layer wants, and passes the guard of SavedModels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.files import disk_errors, sha256_of
from zoo.store.guards.saved_models import GRAPHS, check_saved_model_folder
from zoo.store.unpacking import shown

ASSETS = "assets"
SAVED_MODEL_LAYER = "zoo>SavedModelLayer"
"""The name by which Keras knows the layer that a SavedModel is."""


def saved_model_digest(folder: Path) -> str:
    """Returns the sha256 (hex) of the files below a folder: of their paths and contents, and of nothing else.

    Raises:
        DiskError: A file of it cannot be read.
    """
    with disk_errors(folder, "check its permissions and the disk", "read"):
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        digests = {name: sha256_of(files[name]) for name in sorted(files)}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def wanted_saved_models(config: Any) -> set[str]:
    """Returns the digests of the SavedModels that layers in a model's config want; "" of one that does not tell."""
    return {
        digest if isinstance(digest := inside.get("sha256") if isinstance(inside, dict) else None, str) else ""
        for inside in (record.get("config") for record in _layers(config))
    }


def _layers(config: Any) -> Iterator[dict[str, Any]]:
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if SAVED_MODEL_LAYER in (value.get("registered_name"), value.get("class_name")):
                yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def refuse_saved_models(config: Any, name: str) -> None:
    """Refuses a config with such layers, for a file that has no room for what they compute.

    Raises:
        IntegrityError: It has some.
    """
    if wanted_saved_models(config):
        raise IntegrityError(
            f"{name} has a layer that is a SavedModel, and not that SavedModel, for which such files have no room. "
            "Save the model as .keras: model.save('model.keras')"
        )


def check_assets(folder: Path, members: Collection[str], config: Any, name: str) -> set[str]:
    """Judges the assets of an unpacked archive, and returns those of its files that are such.

    Args:
        folder: Where it was unpacked.
        members: The paths of its files.
        config: Its config.
        name: What it is called in messages.

    Raises:
        UnsafeFileError: It has a SavedModel that could do harm, or that no layer wants.
        IntegrityError: It lacks one, or has another one.
    """
    wanted = wanted_saved_models(config)
    assets = {member for member in members if member.startswith(f"{ASSETS}/")}
    if not wanted:
        return set()  # what lies there belongs to nothing
    roots = _roots(assets)
    for root in roots:
        _check(folder, root, name)
    found = {saved_model_digest(folder / root) for root in roots}
    if missing := sorted(wanted - found):
        raise IntegrityError(
            f"{name} lacks the SavedModel that a layer of it is (sha256 {shown(missing[0])}), or has another in its "
            "place. Get the file again, or save the model again with model.save()"
        )
    inside = {member for member in assets if any(member.startswith(f"{root}/") for root in roots)}
    if found - wanted or (others := sorted(assets - inside)):
        what = "a SavedModel" if found - wanted else shown(others[0])
        raise UnsafeFileError(
            f"Refused {name} unread: it holds {what} in its {ASSETS}, which none of its layers wants. Save the model "
            "again with model.save(), or zip it without that."
        )
    return inside


def _roots(assets: Collection[str]) -> list[str]:
    """Returns the folders of SavedModels, without those that lie in another one's."""
    folders = sorted({str(PurePosixPath(each).parent) for each in assets if PurePosixPath(each).name in GRAPHS})
    roots: list[str] = []
    for each in folders:
        if not any(each.startswith(f"{root}/") for root in roots):
            roots.append(each)
    return roots


def _check(folder: Path, root: str, name: str) -> None:
    """Judges one SavedModel; messages tell of the archive, and not of where it was unpacked."""
    try:
        check_saved_model_folder(folder / root)
    except (UnsafeFileError, IntegrityError) as error:
        raise type(error)(str(error).replace(f"{folder}/", f"{name}: ")) from error

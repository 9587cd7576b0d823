"""Guards `.keras` archives: unpacks one privately, and judges all that is in it before Keras sees any of it.

An archive is a zip with `config.json` (what the model is made of), `metadata.json` (who wrote it) and mostly
`model.weights.h5`. Keras also reads files from `assets/`: those of our own layer `keras_assets` judges; other layers
that have such `keras_config` refuses.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.files import disk_errors, temporary_name
from zoo.store.archives import extract
from zoo.store.guards.keras_assets import check_assets
from zoo.store.guards.keras_config import checked_config
from zoo.store.guards.signatures import HDF5, NPY
from zoo.store.layout import layout
from zoo.store.unpacking import Limits, nested_kind, opened, shown
from zoo.store.zips import has_end_record

if TYPE_CHECKING:
    from zoo.store.guards.hdf5 import Outline

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

# Weights hardly shrink when packed. Those of a net not trained yet may be zeros, which pack 1,000 to 1: up to the
# allowance they pass, and no file of a few megabytes becomes gigabytes.
LIMITS = Limits(members=1_000, depth=16, allowance=64 << 20)
_MOST_METADATA = 64 << 10
_HEAD = 1 << 12
_SAVE_AGAIN = "Save it again: model.save()"  # no publisher's file in the registry is such an archive


@dataclass(frozen=True)
class KerasArchive:
    """A `.keras` archive whose content has been judged.

    Attributes:
        config: What the model is made of, without what `compile` was given.
        metadata: Who wrote it: `keras_version`, `date_saved`.
        weights: The file of weights, unpacked; None: there is none.
        outline: What the weights are; None: there are none.
        folder: Where all this was unpacked, with `config` as its config.json: `keras.saving.load_model` reads it.
    """

    config: dict[str, Any]
    metadata: dict[str, Any]
    weights: Path | None
    outline: Outline | None
    folder: Path


@contextmanager
def keras_archive(path: Path, name: str = "", *, registered: Container[str] = ()) -> Iterator[KerasArchive]:
    """Unpacks a `.keras` archive and judges it. Its files are there until the context is left, and no longer.

    Args:
        path: The archive.
        name: What it is called in messages; empty: its path.
        registered: The names ("package>Name") of custom objects that the caller has imported and Keras knows.

    Raises:
        UnsafeFileError: It holds something that could do harm.
        IntegrityError: It is damaged, no `.keras` archive, or needs what is not there.
        NotFoundError: There is no such file.
        DiskError: There is no room to unpack it.
    """
    name = name or str(path)
    _refuse_other_formats(path, name)
    folder = temporary_name(unpacking_folder() / "keras")
    try:
        members = _unpacked(path, folder, name)
        yield _judged(folder, members, name, registered)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judged(folder: Path, members: set[str], name: str, registered: Container[str]) -> KerasArchive:
    _refuse_other_zips(members, name)
    metadata = _metadata(folder / METADATA, name)
    text = (folder / CONFIG).read_bytes()
    config = checked_config(text, name, registered=registered, saved_by=metadata["keras_version"])
    _refuse_others(members - check_assets(folder, members, config, name), name)
    outline = _outline(folder / WEIGHTS, name) if WEIGHTS in members else None
    with disk_errors(folder):
        (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    return KerasArchive(config, metadata, folder / WEIGHTS if outline else None, outline, folder)


def _outline(weights: Path, name: str) -> Outline:
    from zoo.store.guards.hdf5 import hdf5_outline  # here, for the sake of a quick `zoo list`

    return hdf5_outline(weights, f"{WEIGHTS} of {name}")


def unpacking_folder() -> Path:
    """Returns where to unpack privately: in the store, if there is one, which is where there is room."""
    folders = (layout().tmp, Path(tempfile.gettempdir()))
    return next((each for each in folders if each.is_dir() and os.access(each, os.W_OK | os.X_OK)), folders[-1])


def _unpacked(path: Path, folder: Path, name: str) -> set[str]:
    """Unpacks the archive and returns the paths of its files."""
    try:
        return {member.path for member in extract(path, folder, LIMITS, name=name, remedy=_SAVE_AGAIN)}
    except IntegrityError as error:
        raise IntegrityError(f"Expected a whole Keras archive (.keras). {error}") from error


def _metadata(path: Path, name: str) -> dict[str, Any]:
    try:
        text = path.read_bytes()
        if len(text) > _MOST_METADATA:
            raise ValueError(f"{len(text):,} bytes; at most {_MOST_METADATA:,} are read")
        found = json.loads(text.decode())
        if not isinstance(found, dict) or not isinstance(found.get("keras_version"), str):
            raise ValueError("no keras_version in it")
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"Expected a Keras archive (.keras) in {name}, with a {METADATA} that tells the version of Keras; found "
            f"another one ({error}). Save the model again with model.save()."
        ) from error
    return found


# --- what is no Keras archive, or more than one ---


def _refuse_other_formats(path: Path, name: str) -> None:
    """Raises where a file is no zip, and says what it looks like."""
    with opened(path) as source:
        head = source.read_at(0, min(source.size, _HEAD))
        if nested_kind("", head) == "zip" or has_end_record(source):
            return
    raise IntegrityError(f"Expected a Keras archive (.keras, a zip) in {name}; found {_format_of(head)}.")


def _format_of(head: bytes) -> str:
    if head.startswith(HDF5):
        return (
            "an HDF5 file. If it is one of Keras, give it a name that ends with .h5 (.weights.h5, if it has no model)"
        )
    if head.startswith(NPY):
        return "an array of NumPy (.npy), which holds no model"
    if head.startswith(b"\x80") and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "a pickle, which is a program; zoo never opens one. Save the model with model.save()"
    if kind := nested_kind("", head):
        return f"an archive of another kind ({kind}). Unpack it, and give what is in there"
    if not head:
        return "an empty file. Fetch or save it again"
    return "something else, or a damaged file. Fetch or save it again"


def _refuse_other_zips(members: set[str], name: str) -> None:
    """Raises where a zip is none of Keras, and says what it looks like."""
    if CONFIG in members and METADATA in members:
        return
    if any(Path(member).name in ("data.pkl", "constants.pkl") for member in members):
        raise UnsafeFileError(
            f"Refused {name} unread: it is a model of PyTorch, and holds pickles, which are programs. Export it there "
            "to ONNX, and give that."
        )
    if all(member.endswith(".npy") for member in members):
        looks = "arrays of NumPy. Give it a name that ends with .npz"
    elif any(Path(member).name in ("saved_model.pb", "saved_model.pbtxt") for member in members):
        looks = "a SavedModel. Unpack it, and give the folder"
    elif any(Path(member).name == CONFIG for member in members):
        looks = "a model packed with a folder around it. Unpack it, and zip the files themselves"
    else:
        looks = (
            f"{', '.join(map(shown, sorted(members)[:5]))}{' ...' if len(members) > 5 else ''}. Fetch or save it again"
        )
    raise IntegrityError(f"Expected a Keras archive (.keras) in {name}, with {CONFIG} and {METADATA}; found {looks}.")


def _refuse_others(members: set[str], name: str) -> None:
    """Raises where an archive holds more than Keras writes for the layers that we know: somebody has put it there.

    Weights as .npz are read by Keras from folders, never from archives as `model.save` makes them.
    """
    if others := sorted(members - {CONFIG, METADATA, WEIGHTS}):
        raise UnsafeFileError(
            f"Refused {name} unread: besides {CONFIG}, {METADATA} and {WEIGHTS} it holds {shown(others[0])}"
            f"{f' and {len(others) - 1} more' if len(others) > 1 else ''}, which none of its layers can need. Save the "
            "model again with model.save(), or zip it without that."
        )

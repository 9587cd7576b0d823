"""Tells of which format the files are that a user offers, and runs the guards of formats.

The name says what is meant, the content whether it is so; where they disagree nothing is opened, and a pickle never is.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.errors import DiskError, IntegrityError, NotFoundError, UnsafeFileError, UsageError, nearest_names
from zoo.files import disk_errors
from zoo.names import path_fault
from zoo.store.guards.arrays import MAGIC, npy_outline, npz_outline
from zoo.store.guards.checkpoints import (
    NOWHERE,
    checkpoint_files,
    checkpoint_outline,
    checkpoint_prefix,
    index_of,
    is_old_checkpoint,
    is_table,
)
from zoo.store.guards.wire import (
    Wire,
    check_caffemodel,
    check_meta_graph,
    check_onnx,
    check_saved_model,
    explained,
    refuse_other_than_caffemodel,
    refuse_other_than_frozen_graph,
    refuse_other_than_onnx,
    refuse_other_than_saved_model,
)
from zoo.store.unpacking import CHUNK, Source, nested_kind, opened, shown

Format = Literal["keras", "h5", "onnx", "savedmodel", "caffe", "checkpoint", "npz"]

ACCEPTED = (
    "a .keras file, an .h5 or .hdf5 file, an .onnx file, an .npz file, the folder of a SavedModel, a .prototxt with "
    "its .caffemodel, or a TensorFlow checkpoint (its prefix, or any file of it)"
)
_BY_SUFFIX: dict[str, tuple[Format, str]] = {
    ".keras": ("keras", "model"),
    ".h5": ("h5", "model"),
    ".hdf5": ("h5", "model"),
    ".onnx": ("onnx", "model"),
    ".npz": ("npz", "weights"),
}
_WHAT = {
    ".keras": "a Keras archive (.keras)",
    ".h5": "an HDF5 file (.h5)",
    ".hdf5": "an HDF5 file (.hdf5)",
    ".onnx": "an ONNX model",
    ".npz": "NumPy arrays in a zip (.npz)",
    ".caffemodel": "the weights of a Caffe net",
    ".prototxt": "the definition of a Caffe net",
    ".pb": "a TensorFlow graph",
    ".index": "the index of a TensorFlow checkpoint",
    ".ckpt": "a TensorFlow checkpoint in one file",
}
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".dill")
_NOT_YET = {
    ".tflite": "TensorFlow Lite models (.tflite); give the model it was made from",
    ".safetensors": "safetensors files; export the model to ONNX, or its weights to .npz",
}
_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
_CHECKPOINT_LIST = "checkpoint"
_MOST_FILES = 10_000
_DEEPEST = 64
_LARGEST_LIST = 1 << 20
_LARGEST_DEFINITION = 16 << 20
_LARGEST_TEXT_GRAPH = 2 << 30


@dataclass(frozen=True)
class Offered:
    """What a user offers.

    Attributes:
        format: Of which format it is.
        files: The role and the path of each file or folder, as the user wrote it.
        prefix: What the names of all files of a TensorFlow checkpoint begin with; None for other formats.
    """

    format: Format
    files: tuple[tuple[str, Path], ...]
    prefix: str | None = None


def recognise(paths: Sequence[Path]) -> Offered:
    """Returns what the user offers, by name and by first bytes; `check_format` and other guards look at the rest.

    Args:
        paths: One file or folder; a .prototxt and its .caffemodel in either order; or files of one checkpoint. They
            may be links to files.

    Raises:
        UsageError: This version accepts no such thing, or a part of it is not among `paths`.
        NotFoundError: There is no such file.
        IntegrityError: The content of a file is not what its name says, or a part of a checkpoint is missing.
        UnsafeFileError: It is a pickle, or a container of pickles.
        DiskError: It cannot be read.
    """
    if not paths:
        raise UsageError(f"Expected {ACCEPTED}; got nothing.")
    for path in paths:
        _refuse_unsafe(path)
    if any(_suffix(path) in (".prototxt", ".caffemodel") for path in paths):
        return _caffe(paths)
    if len(paths) == 1:
        return _single(paths[0])
    prefixes = {_checkpoint_prefix_of(path) for path in paths}
    if len(prefixes) == 1 and (prefix := prefixes.pop()) is not None:
        return _checkpoint(prefix)
    raise UsageError(f"Expected one model; got {len(paths)} files that are no one model. Give {ACCEPTED}.")


def check_format(offered: Offered) -> None:
    """Runs the guard of a format, which reads as much as it takes to know that a library may open the files.

    `.keras` and HDF5 files have guards of their own, for these return what they found.

    Raises:
        UnsafeFileError: A file could do harm.
        IntegrityError: A file is damaged, missing, or another than it should be.
        UsageError: This version does not accept it, although it is whole.
        DiskError: A file cannot be read.
    """
    files = dict(offered.files)
    match offered.format:
        case "npz":
            npz_outline(files["weights"])
        case "onnx":
            check_onnx(files["model"])
        case "caffe":
            _check_prototxt(files["definition"])
            check_caffemodel(files["weights"])
        case "checkpoint":
            first = offered.files[0][1]
            _check_checkpoint(first.with_name(offered.prefix or first.name))
        case "savedmodel":
            _check_saved_model_folder(files["archive"])


# --- places ---


def _suffix(path: Path) -> str:
    return path.suffix.casefold()


def _kind_of(path: Path) -> Literal["file", "folder", None]:
    """Returns what lies at a path, links followed; None where nothing does.

    Raises:
        UsageError: Something that is neither file nor folder, or the path can be none.
        DiskError: That cannot be told.
    """
    try:
        with disk_errors(path, "check its permissions and the disk", "read"):
            mode = path.stat().st_mode
    except ValueError as error:  # a zero byte
        raise UsageError(f"Expected a path; got {shown(str(path))} ({error}).") from error
    except DiskError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in NOWHERE:
            return None
        raise
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    raise UsageError(f"Expected {ACCEPTED}; {path} is {kinds.get(stat.S_IFMT(mode), 'a device')}.")


def _missing(path: Path) -> NotFoundError:
    if path.is_symlink():
        return NotFoundError(f"{path} is a link to {shown(os.fspath(path.readlink()))}, where nothing is.")
    folder = path.parent
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST_FILES), strict=False)]
    except OSError:
        return NotFoundError(f"There is no {path}, nor can its folder {folder} be listed.")
    near = nearest_names(path.name, [name for name in names if name.isprintable()])
    return NotFoundError(f"There is no {path.name} in {folder}.{near}")


@contextmanager
def _source(path: Path) -> Iterator[Source]:
    if _kind_of(path) != "file":
        raise _missing(path)
    with opened(path) as source:
        yield source


# --- pickles ---

_PICKLE_OPCODES = frozenset(b"(.012FIJKLMNPQRSTUVXabcdeghijlopqrstu}])\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b"
                            b"\x8c\x8d\x8e\x8f\x90\x92\x93\x94\x95\x96\x97\x98BC")  # fmt: skip
_TEXT_PICKLE = re.compile(rb"c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\(?[dl]p\d+\n|\(c?(?:[A-Za-z_][\w.]*\n){2}|[\]}]q\0")
_OLD_TORCH = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # a number that the oldest PyTorch files begin with
_DIRECTORY = 8 << 20  # of a zip: as much of its end is looked through for names
_LOCAL, _CENTRAL, _LOCATOR, _WIDE_END = 30, 46, 20, 56  # bytes of a zip's records, without what may have any length
_LONGEST_NAME = 0xFFFF


def _refuse_unsafe(path: Path) -> None:
    """Refuses pickles by name or by content.

    Raises:
        UnsafeFileError: It is one.
    """
    if _kind_of(path) != "file" or _IS_SHARD.fullmatch(path.name):  # which has values only, whatever they look like
        return
    with opened(path) as source:
        kind = _pickle_in(source)
    if kind is None and _suffix(path) in _PICKLES:
        kind = f"{_suffix(path)} files are pickles"
    if kind is not None:
        raise UnsafeFileError(
            f"Refused {path} unopened: {kind}. A pickle runs code when it is opened; zoo opens none by design. Export "
            "the model to ONNX, or its weights to .npz or safetensors, with the tool that made it, where you trust the "
            "file to run; zoo takes ONNX and .npz."
        )


def _pickle_in(source: Source) -> str | None:
    """Returns how a file is a pickle, or None."""
    head = source.read_at(0, min(source.size, 64))
    if head.startswith(_OLD_TORCH):
        return "it is a PyTorch file of the old kind, a pickle"
    if len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5 and head[2] in _PICKLE_OPCODES:
        return f"it begins as a pickle of protocol {head[1]}"
    if _TEXT_PICKLE.match(head):
        return "it begins as a pickle of protocol 0"
    if head.startswith(b"PK\3\4"):
        for name in _zip_names(source):
            if name.casefold().endswith(_PICKLES[:2]):
                return f"it is a zip with the pickle {shown(name)} in it, as PyTorch writes them"
    return None


def _zip_names(source: Source) -> list[str]:
    """Returns the names in a zip, the first one twice, as far as they can be found: its guard reads it right."""
    first = source.read_at(0, min(source.size, _LOCAL + _LONGEST_NAME))
    names = [first[_LOCAL:][: int.from_bytes(first[26:28], "little")]]
    start = max(0, source.size - _DIRECTORY)
    tail = source.read_at(start, source.size - start)
    stop = tail.rfind(b"PK\5\6")
    size = int.from_bytes(tail[stop + 12 : stop + 16], "little")
    if tail[max(0, stop - _LOCATOR) :].startswith(b"PK\6\7"):
        stop -= _LOCATOR + _WIDE_END
    at = stop - size
    while 0 <= at < stop and tail.startswith(b"PK\1\2", at):
        name, extra, comment = (int.from_bytes(tail[at + place : at + place + 2], "little") for place in (28, 30, 32))
        names.append(tail[at + _CENTRAL : at + _CENTRAL + name])
        at += _CENTRAL + name + extra + comment
    return [name.decode("utf-8", "replace") for name in names]


# --- one file or folder ---


def _single(path: Path) -> Offered:
    kind = _kind_of(path)
    if kind == "folder":
        return _folder(path)
    if (prefix := _checkpoint_prefix_of(path)) is not None:
        return _checkpoint(prefix)
    if kind is None:
        raise _missing(path)
    suffix = _suffix(path)
    if suffix in _BY_SUFFIX:
        with opened(path) as source:
            _refuse_other_content(source, path, _WHAT[suffix], _CONTENTS[suffix])
        format, role = _BY_SUFFIX[suffix]
        return Offered(format, ((role, path),))
    if path.name in _GRAPHS:
        return _folder(path.parent)
    raise _not_accepted(path)


def _not_accepted(path: Path) -> UsageError:
    """Returns the error for a whole file of a kind that is not accepted; raises it for one that is not whole."""
    suffix = _suffix(path)
    if suffix == ".npy":
        npy_outline(path)
        return UsageError(f"Expected {ACCEPTED}; {path} is one array. Put it into an .npz with numpy.savez.")
    if suffix in _NOT_YET:
        return UsageError(f"{path}: this version does not accept {_NOT_YET[suffix]}.")
    with opened(path) as source:
        if suffix == ".pb":
            _refuse_other_content(source, path, _WHAT[suffix], _is_graph)
            return UsageError(
                f"{path}: this version does not accept TensorFlow graphs by themselves (frozen, .pb). Give the folder "
                "of a SavedModel, or convert the graph to ONNX (python -m tf2onnx.convert --graphdef ...)."
            )
        seems = _seems(source)
    hint = f" By its content it is {seems}: give it the suffix of that." if seems else ""
    return UsageError(f"Expected {ACCEPTED}; got {path}.{hint}")


def _folder(path: Path) -> Offered:
    graphs = [path / name for name in _GRAPHS if _kind_of(path / name) == "file"]
    for graph in graphs:
        with opened(graph) as source:
            _refuse_other_content(source, graph, "the graph of a SavedModel", _CONTENTS[_suffix(graph)])
    if graphs:
        return Offered("savedmodel", (("archive", path),))
    if _kind_of(path / _CHECKPOINT_LIST) == "file":
        return _checkpoint(_listed_checkpoint(path / _CHECKPOINT_LIST))
    raise UsageError(
        f"Expected the folder of a SavedModel (with saved_model.pb in it) or of one checkpoint (with a file "
        f"{_CHECKPOINT_LIST!r} in it); {path} is neither. Give the path of the model itself."
    )


# --- Caffe ---


def _caffe(paths: Sequence[Path]) -> Offered:
    definitions = [path for path in paths if _suffix(path) == ".prototxt"]
    weights = [path for path in paths if _suffix(path) == ".caffemodel"]
    if len(paths) > 2 or len(definitions) > 1 or len(weights) > 1 or len(definitions) + len(weights) < len(paths):
        raise UsageError(f"Expected one .prototxt and one .caffemodel; got {len(paths)} files.")
    for path in (*definitions, *weights):
        with _source(path) as source:
            _refuse_other_content(source, path, _WHAT[_suffix(path)], _CONTENTS[_suffix(path)])
    if not definitions or not weights:
        missing = ".prototxt (deploy.prototxt)" if weights else ".caffemodel"
        raise UsageError(
            f"A Caffe net is two files, and {paths[0]} is one of them: give its {missing} too, in either order."
        )
    return Offered("caffe", (("definition", definitions[0]), ("weights", weights[0])))


_LAYERS = re.compile(rb"(?:^|\})[ \t]*(?:layers?[ \t]*(?::[ \t]*)?\{|input(?:_shape|_dim)?[ \t]*[:{])", re.M)
_CONTROL = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _check_prototxt(path: Path) -> None:
    with explained(str(path), _WHAT[".prototxt"]), opened(path) as source:
        if source.size > _LARGEST_DEFINITION:
            raise IntegrityError(f"it has {source.size:,} bytes, and a definition has {_LARGEST_DEFINITION:,} at most")
        _refuse_other_than_text(source)
        if not _is_prototxt(source):
            raise IntegrityError("it has no layer and no input")


def _refuse_other_than_text(source: Source) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in source.chunks(0, source.size):
            decoder.decode(chunk)
            if found := _CONTROL.search(chunk):
                raise IntegrityError(f"it is no text, for it has the byte {found[0][0]:#04x}")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise IntegrityError("it is no text in UTF-8") from error


# --- TensorFlow checkpoints ---

_IS_SHARD = re.compile(r".+\.data-\d{5}-of-\d{5}")
_IS_CHECKPOINT_PART = re.compile(rf".+\.(?:index|meta)|{_IS_SHARD.pattern}")
_IS_OLD_SHARD = re.compile(r".+-\d{5}-of-\d{5}")


def _checkpoint_prefix_of(path: Path) -> Path | None:
    """Returns the prefix of the checkpoint that a path is a part of, or the prefix itself; None where it is none."""
    kind = _kind_of(path)
    if kind == "folder":
        return None
    if _IS_CHECKPOINT_PART.fullmatch(path.name):
        return checkpoint_prefix(path) if kind else None
    if path.name == _CHECKPOINT_LIST and kind:
        return _listed_checkpoint(path)
    if _kind_of(path.with_name(f"{path.name}.index")) == "file":
        return path
    if kind is None:
        return None
    with opened(path) as source:
        is_old = is_old_checkpoint(source)
    if is_old and _IS_OLD_SHARD.fullmatch(path.name):
        raise UsageError(
            f"{path} is one of several files of an old checkpoint; this version takes such in one file only."
        )
    return path if _suffix(path).startswith(".ckpt") or (is_old and not path.suffix) else None


def _checkpoint(prefix: Path) -> Offered:
    index = index_of(prefix)
    _refuse_unsafe(index)
    with opened(index) as source:
        _refuse_other_content(source, index, _WHAT[".ckpt" if index == prefix else ".index"], is_table)
    return Offered("checkpoint", tuple(("archive", path) for path in checkpoint_files(prefix)), prefix.name)


def _check_checkpoint(prefix: Path) -> None:
    checkpoint_outline(prefix)
    meta = prefix.with_name(f"{prefix.name}.meta")
    if _kind_of(meta) == "file":
        check_meta_graph(meta)


def _listed_checkpoint(path: Path) -> Path:
    """Returns the prefix of the one checkpoint that a file `checkpoint` names: by its last part, in the same folder.

    Raises:
        UsageError: It names several, or none.
        IntegrityError: It is no such list.
    """
    what = "the list of a folder's checkpoints"
    with explained(str(path), what), opened(path) as source:
        if source.size > _LARGEST_LIST:
            raise IntegrityError(f"it has {source.size:,} bytes")
        _refuse_other_than_text(source)
        text = source.read_at(0, source.size).decode()
        paths = re.findall(r'^(?:all_)?model_checkpoint_paths?: "([^"\\]*)"$', text, re.M)
        names = sorted({each.replace("\\", "/").rpartition("/")[2] for each in paths})
        if not names:
            raise IntegrityError("it names no checkpoint")
        if faults := [fault for name in names if (fault := path_fault(name))]:
            raise UnsafeFileError(f"it names a file that cannot be one: {faults[0]}")
    if len(names) > 1:
        few = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise UsageError(
            f"Expected one checkpoint; {path.parent} has {len(names)} ({few}). Give one: {path.parent / names[-1]}."
        )
    return path.with_name(names[0])


# --- SavedModels ---


def _check_saved_model_folder(folder: Path) -> None:
    """Sees whether a folder is a SavedModel whose files are whole; which operations it has is not looked at."""
    with explained(str(folder), "the folder of a SavedModel"):
        names = _names_below(folder)
        graphs = [name for name in _GRAPHS if name in names]
        if not graphs:
            raise IntegrityError("it has no saved_model.pb")
        if any(name.startswith("variables/") for name in names) and "variables/variables.index" not in names:
            raise IntegrityError("its variables have no index (variables/variables.index)")
    for name in graphs:
        if name.endswith(".pb"):
            check_saved_model(folder / name)
        else:
            _check_text_graph(folder / name)
    if "variables/variables.index" in names:
        checkpoint_outline(folder / "variables" / "variables")


def _names_below(folder: Path) -> set[str]:
    """Returns the paths of the files below a folder, which must be regular files in folders and nothing else."""
    names: set[str] = set()
    left, seen = [""], 0
    while left:
        below = left.pop()
        for entry in _entries(folder / below):
            seen += 1
            path = f"{below}/{entry.name}" if below else entry.name
            if seen > _MOST_FILES:
                raise UnsafeFileError(f"it holds more than {_MOST_FILES:,} files and folders")
            if fault := path_fault(path) or ("it is too deep" if path.count("/") >= _DEEPEST else None):
                raise UnsafeFileError(f"the name {shown(path)} in it is not usable everywhere: {fault}")
            if entry.is_dir(follow_symlinks=False):
                left.append(path)
            elif entry.is_file(follow_symlinks=False):
                names.add(path)
            else:
                raise UnsafeFileError(f"{shown(path)} in it is {'a link' if entry.is_symlink() else 'no file'}")
    return names


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with disk_errors(folder, "check its permissions and the disk", "read"), os.scandir(folder) as entries:
        yield from entries


def _check_text_graph(path: Path) -> None:
    with explained(str(path), "the graph of a SavedModel as text"), opened(path) as source:
        if source.size > _LARGEST_TEXT_GRAPH:
            raise IntegrityError(f"it has {source.size:,} bytes, more than any graph")
        if not _is_text_graph(source):
            raise IntegrityError("it has no graph, or does not tell its version, or is of a newer one")
        _refuse_other_than_text(source)


# --- content ---


def _refuse_other_content(source: Source, path: Path, what: str, is_so: Callable[[Source], bool]) -> None:
    if is_so(source):
        return
    seems = _seems(source)
    raise IntegrityError(
        f"{path} is not what its name says: expected {what}, found {seems or 'nothing that is known'}. "
        + ("Give it the name that fits" if seems and seems in _ACCEPTABLE else "Get it again from where it came from")
        + ", or give another file."
    )


def _is_hdf5(source: Source) -> bool:
    return source.read_at(0, min(source.size, 8)) == b"\x89HDF\r\n\x1a\n"


def _is_keras(source: Source) -> bool:
    return _is_zip(source) and "config.json" in _zip_names(source)


def _is_npz(source: Source) -> bool:
    names = _zip_names(source) if _is_zip(source) else []
    return bool(names) and all(name.endswith(".npy") for name in names)


def _is_zip(source: Source) -> bool:
    return source.read_at(0, min(source.size, 4)) in (b"PK\3\4", b"PK\5\6")


def _is_prototxt(source: Source) -> bool:
    return source.size <= _LARGEST_DEFINITION and bool(_LAYERS.search(source.read_at(0, source.size)))


def _is_text_graph(source: Source) -> bool:
    head = source.read_at(0, min(source.size, CHUNK))
    return all(re.search(mark, head, re.M) for mark in (rb"^saved_model_schema_version: ?1\b", rb"^meta_graphs ?[{<]"))


def _passes(refuse: Callable[[Wire], None]) -> Callable[[Source], bool]:
    """Returns whether a file has the first levels of a message. One refused as unsafe has: its guard says why."""

    def is_so(source: Source) -> bool:
        if not source.size:
            return False
        try:
            refuse(Wire(source))
        except IntegrityError:
            return False
        except UnsafeFileError:
            return True
        return True

    return is_so


_is_onnx = _passes(refuse_other_than_onnx)
_is_saved_model = _passes(refuse_other_than_saved_model)
_is_frozen = _passes(refuse_other_than_frozen_graph)
_is_caffemodel = _passes(refuse_other_than_caffemodel)


def _is_graph(source: Source) -> bool:
    return _is_frozen(source) or _is_saved_model(source)


_CONTENTS: dict[str, Callable[[Source], bool]] = {
    ".keras": lambda source: _is_zip(source) and not _is_npz(source),  # its own guard says what is missing in it
    ".h5": _is_hdf5,
    ".hdf5": _is_hdf5,
    ".onnx": _is_onnx,
    ".npz": lambda source: _is_zip(source) and not _is_keras(source),
    ".prototxt": _is_prototxt,
    ".caffemodel": _is_caffemodel,
    ".pb": _is_saved_model,
    ".pbtxt": _is_text_graph,
}
_ACCEPTABLE: dict[str, Callable[[Source], bool]] = {
    "an HDF5 file (.h5)": _is_hdf5,
    "NumPy arrays in a zip (.npz)": _is_npz,
    "a Keras archive (.keras)": _is_keras,
    "a TensorFlow checkpoint in one file (.ckpt)": is_old_checkpoint,
    "the index of a TensorFlow checkpoint (.index)": is_table,
    "an ONNX model (.onnx)": _is_onnx,
    "the graph of a SavedModel (saved_model.pb)": _is_saved_model,
    "the weights of a Caffe net (.caffemodel)": _is_caffemodel,
    "the definition of a Caffe net (.prototxt)": _is_prototxt,
}
_HEADS = {
    MAGIC: "a NumPy array (.npy)",
    b"version https://git-lfs.github.com/spec/": "a pointer of Git LFS, not the file itself (git lfs pull fetches it)",
}


def _seems(source: Source) -> str | None:
    """Returns what a file is by its content, or None where that is nothing known."""
    if not source.size:
        return "an empty file"
    head = source.read_at(0, min(source.size, CHUNK))
    for magic, kind in _HEADS.items():
        if head.startswith(magic):
            return kind
    if re.match(rb"\s*<(?:!doctype|html|\?xml)", head, re.I):
        return "a page of the web"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model (.tflite)"
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") <= source.size:
        return "a safetensors file"
    for kind, is_so in _ACCEPTABLE.items():
        if is_so(source):
            return kind
    if archive := nested_kind("", head):
        return f"a {archive} archive"
    return "a TensorFlow graph (.pb)" if _is_frozen(source) else None

"""The guard of HDF5 files: what a file holds, told by a child process that opens it in this one's stead.

The HDF5 library follows links out of a file, reads whatever path stands in it, loads filters by number, and has been
crashed by damaged files again and again. So the first bytes are looked at here, the rest is listed by
`hdf5_lister.py` in a process with limits, and what it tells is judged here. This process never opens the file with
h5py, and trusts the child's words no more than the file.
Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from zoo.errors import IntegrityError, UnsafeFileError, ZooError
from zoo.store.guards.wire import explained
from zoo.store.unpacking import Source, opened, shown

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCKS = 3  # the newest version
_LISTER = Path(__file__).with_name("hdf5_lister.py")
_SECONDS = 20  # of processor time, and more for larger files
_PATIENCE = 60  # seconds that pass, besides twice those: the disk may be slower than the processor
_BYTES_A_SECOND = 2 << 20  # packed; a hundredth of what an ordinary processor unpacks
_MEMORY = 4 << 30
_LONGEST_ANSWER = 128 << 20

_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
_MOST_ELEMENTS = 1 << 40
_LARGEST_CHUNK = 512 << 20  # a chunk is unpacked whole, in three times its size
_RATIO = 100
_ALLOWANCE = 64 << 20  # bytes that any data set, chunk or file may unpack to
_REFUSED_DTYPES = {
    "named datatype": "a datatype that lies elsewhere in the file",
    "references": "references to other objects",
    "variable length": "sequences of any length",
}
_DTYPE = re.compile(r"[<>|][biufcSV]\d{1,9}|string")


@dataclass(frozen=True)
class Dataset:
    """A data set of an HDF5 file.

    Attributes:
        path: Its path, without a slash before it.
        shape: () of a scalar.
        dtype: As NumPy writes it: "<f4", ">f8", "|i1", "|V2"; or "string" for texts of any length.
        bytes: What it has in memory.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class Outline:
    """What an HDF5 file holds.

    Attributes:
        datasets: By their paths, in the order of the file; one with two hard links stands under both.
        attributes: By the path of the object ("": the root); every group has its line. Texts, numbers, and lists of
            them; attributes of other kinds, or of more than 64 numbers, are left out.
    """

    datasets: dict[str, Dataset]
    attributes: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class _Told:
    """What the child tells of a data set: besides the above, what it has in the file."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    item: int
    filters: tuple[int, ...]
    chunk: tuple[int, ...]
    chunks: int
    stored: int
    address: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.item

    @property
    def unpacked(self) -> int:
        """Bytes that come out of the file where it is read: of a chunk at the edge, also those beyond the shape."""
        return max(self.bytes, self.chunks * math.prod(self.chunk) * self.item)

    @property
    def is_to_be_read(self) -> bool:
        """Whether bytes in it lead to others, so that sizes alone do not tell what comes out of it."""
        return bool(self.chunk) or self.dtype == "string"


def hdf5_outline(path: Path, name: str = "") -> Outline:
    """Returns the data sets and attributes of an HDF5 file that is safe to be read by h5py, by path.

    What is chunked has been unpacked once, by the child; the bytes of other data sets are known to be there.

    Args:
        path: The file.
        name: What it is called in messages; empty: its path.

    Raises:
        UnsafeFileError: It leads out of itself (links, external storage, virtual data sets), asks for filters that no
            model needs, claims or unpacks to much more than it has, holds objects or references, has a user block, or
            whoever reads it crashes, or takes too much time or memory.
        IntegrityError: It is no HDF5 file, cut short or damaged.
        NotFoundError: There is no such file.
        DiskError: It cannot be read.
        ZooError: h5py is not installed.
    """
    with explained(name or str(path), "an HDF5 file (.h5)"):
        with opened(path) as source:
            _refuse_cut_short(source)
            size = source.size
        told = _answer("list", path, size)
        _refuse_forbidden(told.get("forbidden"))
        datasets = _datasets(told.get("datasets"))
        _refuse_bombs(datasets, size)
        outline = Outline(
            {each.path: Dataset(each.path, each.shape, each.dtype, each.bytes) for each in datasets},
            _attributes(told.get("attributes")),
        )
        if any(each.is_to_be_read for each in datasets):
            _answer("read", path, size)
        return outline


# --- the first bytes, looked at here ---


def _refuse_cut_short(source: Source) -> None:
    head = source.read_at(0, min(source.size, 64))
    if head[:8] != SIGNATURE:
        _refuse_other_than_hdf5(source, head[:8])
    version = head[8] if len(head) > 8 else 0
    if version > _SUPERBLOCKS:
        raise IntegrityError(f"its superblock is of version {version}, and this program knows 0 to {_SUPERBLOCKS}")
    width_at, base_at = (13, 24 + 4 * version) if version < 2 else (9, 12)  # version 1 has one more field
    width = head[width_at] if len(head) > width_at else 8
    if width not in (2, 4, 8):
        raise IntegrityError(f"it has addresses of {width} bytes, and this program knows 2, 4 and 8")
    end_at = base_at + 2 * width
    if len(head) < end_at + width:
        raise IntegrityError(
            f"it is a truncated HDF5 file: its {source.size:,} bytes are less than its superblock alone"
        )
    if base := int.from_bytes(head[base_at : base_at + width], "little"):
        raise UnsafeFileError(f"its addresses count from byte {base:,}, not from its beginning")
    told = int.from_bytes(head[end_at : end_at + width], "little")
    if source.size < told:
        raise IntegrityError(
            f"it is a truncated HDF5 file: its superblock tells of {told:,} bytes, and it has {source.size:,}"
        )


def _refuse_other_than_hdf5(source: Source, head: bytes) -> NoReturn:
    if not head:
        raise IntegrityError("it is empty")
    if SIGNATURE.startswith(head):
        raise IntegrityError(f"it is a truncated HDF5 file: it has {len(head)} bytes, less than its signature")
    place = 512
    while place + len(SIGNATURE) <= source.size:
        if source.read_at(place, len(SIGNATURE)) == SIGNATURE:
            raise UnsafeFileError(
                f"its HDF5 content begins at byte {place:,} only, behind a user block that other programs may take for "
                "the file (write it again without one)"
            )
        place *= 2
    raise IntegrityError(f"it does not begin with the signature of HDF5, but with {head!r}")


# --- the rest, listed by a child ---


def _answer(task: str, path: Path, size: int) -> dict[str, Any]:
    """Returns what the child says of a file of `size` bytes.

    Raises:
        UnsafeFileError: It crashed, took too much, or found too much.
        IntegrityError: It could not read the file.
        ZooError: It cannot be run.
    """
    seconds = _SECONDS + size // _BYTES_A_SECOND
    limits = [str(seconds), str(_MEMORY)]
    command = [sys.executable, "-I", str(_LISTER), task, *limits, str(path.absolute()), *_library_folders()]
    output, status = _output(command, 2 * seconds + _PATIENCE)
    if status != 0:
        raise UnsafeFileError(f"the program that reads it crashed on it ({_death(status)})")
    try:
        told = json.loads(output)
    except (ValueError, RecursionError):  # cut off, no UTF-8, no JSON, or nested like no answer
        told = None
    if not isinstance(told, dict):
        raise _nonsense()
    if told.get("memory"):
        raise UnsafeFileError(f"reading it takes more than the {_MEMORY >> 20:,} MiB of memory that it may")
    if "excess" in told:
        raise UnsafeFileError(_plain(told["excess"]))
    if "failure" in told:
        raise IntegrityError(_plain(told["failure"]))
    return told


def _output(command: list[str], seconds: float) -> tuple[bytes, int]:
    """Returns what a program wrote, no more than an answer may have, and how it ended; it is killed after `seconds`."""
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, close_fds=True
        )
    except OSError as error:
        raise ZooError(
            f"Expected to run {command[0]} to look into an HDF5 file; the system refuses ({error.strerror or error}). "
            "Close some programs and try again."
        ) from error
    clock = threading.Timer(seconds, child.kill)
    clock.daemon = True
    clock.start()
    with child:
        try:
            assert child.stdout is not None
            output = child.stdout.read(_LONGEST_ANSWER + 1)
            if len(output) > _LONGEST_ANSWER:
                raise UnsafeFileError(f"it holds more than {_LONGEST_ANSWER >> 20} MiB of names and texts")
            return output, child.wait()
        finally:
            clock.cancel()
            child.kill()  # where it has not ended


def _library_folders() -> list[str]:
    """Returns where h5py and NumPy lie, which the child, deaf to the user's settings, may not find by itself."""
    places = [importlib.util.find_spec(name) for name in ("h5py", "numpy")]  # imports neither
    if not all(place and place.origin for place in places):
        raise ZooError("Expected h5py and NumPy, to look into an HDF5 file; found none. Try: pip install h5py numpy")
    return [str(Path(place.origin).parent.parent) for place in places if place and place.origin]


def _death(status: int) -> str:
    if status == -signal.SIGXCPU:
        return "it took more processor time than it may"
    if status == -signal.SIGKILL:
        return "it was ended, for it took too long or the system had no memory left"
    if status < 0:
        return signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"exit code {status}"


def _plain(text: object) -> str:
    """Returns words of the child's, which may repeat what stands in the file, fit for a terminal."""
    return "".join(each if each.isprintable() else "?" for each in str(text))[:400]


def _nonsense() -> UnsafeFileError:
    return UnsafeFileError("the program that reads it gave an answer without sense, as after a crash")


# --- what it tells, judged here ---


def _refuse_forbidden(told: Any) -> None:
    if told is None:
        return
    path, kind, target = (_plain(part) for part in (told if isinstance(told, list) and len(told) == 3 else "???"))
    leads = f" to {shown(target)}" if target else ""
    meanings = {
        "soft link": f"is a soft link{leads}, which may lead anywhere",
        "external link": f"is an external link{leads}: it reads another file",
        "external storage": f"is a data set with external storage{leads}: it reads another file",
        "virtual data set": f"is a virtual data set{leads}: it reads other files",
        "group again": "is a group that has another path too, so that its tree has no end, or grows by far",
        "named datatype": "is a named datatype, which no model needs",
    }
    raise UnsafeFileError(f"its {shown(path)} {meanings.get(kind, f'is a {kind}, which no model needs')}")


def _datasets(told: Any) -> list[_Told]:
    """Returns the child's words on the data sets with their types looked at, for the file may have changed its mind."""
    try:
        datasets = [
            _Told(
                path=_text(each["path"]),
                shape=_numbers(each["shape"]),
                dtype=_text(each["dtype"]),
                item=_number(each["item"]),
                filters=_numbers(each["filters"]),
                chunk=_numbers(each["chunk"]),
                chunks=_number(each["chunks"]),
                stored=_number(each["stored"]),
                address=_number(each["address"]),
            )
            for each in _list(told)
        ]
    except (KeyError, TypeError) as error:
        raise _nonsense() from error
    if len({each.path for each in datasets}) != len(datasets):
        raise _nonsense()
    return datasets


def _attributes(told: Any) -> dict[str, dict[str, Any]]:
    attributes: dict[str, dict[str, Any]] = {}
    try:
        for path, values in _list(told):
            parts = [part for value in values.values() for part in (value if isinstance(value, list) else [value])]
            if not all(isinstance(part, str | int | float) for part in parts):
                raise TypeError
            attributes[_text(path)] = values
    except (TypeError, ValueError, AttributeError) as error:
        raise _nonsense() from error
    return attributes


def _list(told: Any) -> list[Any]:
    if not isinstance(told, list):
        raise TypeError
    return told


def _text(told: Any) -> str:
    if not isinstance(told, str):
        raise TypeError
    return told


def _number(told: Any) -> int:
    if not isinstance(told, int) or told < 0:
        raise TypeError
    return told


def _numbers(told: Any) -> tuple[int, ...]:
    return tuple(_number(each) for each in _list(told))


def _refuse_bombs(datasets: list[_Told], size: int) -> None:
    """Compares what data sets claim with what they and the file have.

    Raises:
        UnsafeFileError: They claim too much, need filters, or hold what is no number.
        IntegrityError: One is of a datatype without a name.
    """
    for each in datasets:
        what = f"data set {shown(each.path)}"
        _refuse_dtype(each, what)
        _refuse_filters(each, what)
        _refuse_sizes(each, what)
    stored = sum({each.address: each.stored for each in datasets}.values())
    if stored > size:
        raise UnsafeFileError(f"its data sets lie one over another: they have {stored:,} bytes in a file of {size:,}")
    unpacked = sum(each.unpacked for each in datasets)
    if unpacked > _RATIO * size + _ALLOWANCE:
        raise UnsafeFileError(f"its data sets unpack to {unpacked:,} bytes, out of {size:,}")


def _refuse_dtype(told: _Told, what: str) -> None:
    if kind := _REFUSED_DTYPES.get(told.dtype):
        raise UnsafeFileError(f"{what} holds {kind}, and a model's are numbers")
    if told.dtype == "unknown":
        raise IntegrityError(f"{what} is of a datatype that NumPy does not have")
    if not _DTYPE.fullmatch(told.dtype):
        raise _nonsense()


def _refuse_filters(told: _Told, what: str) -> None:
    allowed = ", ".join(f"{name} ({number})" for number, name in _FILTERS.items())
    if strange := [number for number in told.filters if number not in _FILTERS]:
        raise UnsafeFileError(f"{what} needs filter {strange[0]}, and a model's needs {allowed} or none")
    if len(set(told.filters)) != len(told.filters):
        raise UnsafeFileError(f"{what} is packed by one filter twice ({', '.join(map(str, told.filters))})")


def _refuse_sizes(told: _Told, what: str) -> None:
    shape = shown(str(told.shape))
    if math.prod(told.shape) > _MOST_ELEMENTS:
        raise UnsafeFileError(f"{what} claims the shape {shape}, larger than any model's")
    chunk = math.prod(told.chunk) * told.item
    if told.chunk and chunk > min(max(told.bytes, _ALLOWANCE), _LARGEST_CHUNK):
        raise UnsafeFileError(f"{what} of the shape {shape} comes in chunks of {chunk:,} bytes, larger than sensible")
    if told.unpacked > max(_RATIO * told.stored, _ALLOWANCE):
        raise UnsafeFileError(
            f"{what} unpacks to {told.unpacked:,} bytes (shape {shape}), more than {_RATIO} times the {told.stored:,} "
            "bytes that it has in the file"
        )

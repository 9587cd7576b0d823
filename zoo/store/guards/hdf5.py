"""The guard of HDF5 files: what a file holds, told by a child process that opens it in this one's stead.

The HDF5 library follows links out of a file, reads whatever path stands in it, loads filters by number, and has been
crashed by damaged files again and again. So the first bytes are looked at here, the rest is listed by
`hdf5_lister.py` in a process with limits, which `hdf5_child` runs, and what it tells is judged by `hdf5_told`. This
process never opens the file with h5py.
Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.hdf5_child import answer
from zoo.store.guards.hdf5_told import refuse_bombs, refuse_forbidden, told_attributes, told_datasets
from zoo.store.guards.refusals import explained
from zoo.store.guards.signatures import HDF5
from zoo.store.unpacking import Source, opened

_SUPERBLOCKS = 3  # the newest version


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
        told = answer("list", path, size)
        refuse_forbidden(told.get("forbidden"))
        datasets = told_datasets(told.get("datasets"))
        refuse_bombs(datasets, size)
        outline = Outline(
            {each.path: Dataset(each.path, each.shape, each.dtype, each.bytes) for each in datasets},
            told_attributes(told.get("attributes")),
        )
        if any(each.is_to_be_read for each in datasets):
            answer("read", path, size)
        return outline


def _refuse_cut_short(source: Source) -> None:
    head = source.read_at(0, min(source.size, 64))
    if head[:8] != HDF5:
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
    if HDF5.startswith(head):
        raise IntegrityError(f"it is a truncated HDF5 file: it has {len(head)} bytes, less than its signature")
    place = 512
    while place + len(HDF5) <= source.size:
        if source.read_at(place, len(HDF5)) == HDF5:
            raise UnsafeFileError(
                f"its HDF5 content begins at byte {place:,} only, behind a user block that other programs may take for "
                "the file (write it again without one)"
            )
        place *= 2
    raise IntegrityError(f"it does not begin with the signature of HDF5, but with {head!r}")

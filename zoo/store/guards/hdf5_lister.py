"""Lists what an HDF5 file holds: the script of a child process, which may die of a hostile file in its parent's stead.

`python -I hdf5_lister.py list|read SECONDS BYTES FILE [FOLDER...]` prints one JSON document; SECONDS of processor time
and BYTES of memory are all that it takes for itself, and FOLDERs are where h5py may lie. `list` tells links, data sets
and attributes, `read` unpacks every chunk once. It bounds what it tells, follows nothing that leads out of the file,
and judges nothing: that is `zoo.store.guards.hdf5`'s. Nothing of zoo is imported here, and h5py only below the limits.
Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import codecs
import json
import math
import os
import resource
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

_LINKS = 100_000  # five times those of the largest keras.applications model with its optimizer
_ATTRIBUTES = 200_000
_DEPTH = 64
_LONGEST_NAME = 1024
_TEXT = 64 << 20  # bytes of all paths and attributes together, and so of each
_NUMBERS = 64  # in an attribute that is an array of them
_BLOCK = 16 << 20  # bytes read at once, where one chunk is not more
_PIECE = 1 << 20
_GZIP, _FLETCHER32 = 1, 3
_CHECKSUM_BYTES = 4
_LENGTH_BYTES, _INDEX_BYTES = 4, 4  # of a text that lies in a heap of the file
_NO_MEMORY = ("memory allocation failed", "resource unavailable", "unable to allocate")


class ExcessError(Exception):
    """There is more of something than any model needs."""


class DamageError(Exception):
    """What the file says of itself cannot be."""


class ForbiddenError(Exception):
    """A link that must not be followed, or an object that must not be opened: its path, its kind, where it leads."""

    def __init__(self, path: str, kind: str, target: str = "") -> None:
        super().__init__(path, kind, target)
        self.told = [path, kind, target]


class Budget:
    """How much may still be told."""

    def __init__(self) -> None:
        self._left = {"links": _LINKS, "attributes": _ATTRIBUTES, "bytes of names and attributes": _TEXT}

    def spend(self, what: str, amount: int = 1) -> None:
        """Counts something.

        Raises:
            ExcessError: It is too much.
        """
        self._left[what] -= amount
        if self._left[what] < 0:
            most = {"links": _LINKS, "attributes": _ATTRIBUTES}.get(what, _TEXT)
            raise ExcessError(f"it has more than {most:,} {what}")

    def spend_text(self, amount: int) -> None:
        """Counts bytes of text.

        Raises:
            ExcessError: They are too many.
        """
        self.spend("bytes of names and attributes", amount)


class Stored(NamedTuple):
    """A chunk in the file: which filters were left out (a bit each), where it lies, and its bytes there."""

    mask: int
    offset: int
    size: int


def listing(file: Any) -> dict[str, Any]:
    """Returns the data sets and the attributes of an open file, or the first forbidden link."""
    from h5py import h5g

    budget = Budget()
    datasets, attributes = [], []
    try:
        for path, found in objects(file, budget):
            values = attributes_of(found, path, budget)
            is_group = isinstance(found, h5g.GroupID)
            if is_group or values:
                attributes.append([path, values])
            if not is_group:
                datasets.append({"path": path, **dataset_facts(found, path)})
    except ForbiddenError as error:
        return {"forbidden": error.told}
    return {"datasets": datasets, "attributes": attributes}


def objects(file: Any, budget: Budget) -> Iterator[tuple[str, Any]]:
    """Yields each path and the group or data set there, in the order of the file, a group before what is in it.

    Raises:
        ForbiddenError: A link is not hard, or leads to a group that has another path too, or to a named datatype.
        ExcessError: There are too many links, or they nest too deep.
        DamageError: A name is none.
    """
    from h5py import h5g, h5o

    groups = set()
    left = [("", file, b"/")]
    while left:
        path, parent, name = left.pop()
        info = h5o.get_info(parent, name)
        if info.type not in (h5o.TYPE_GROUP, h5o.TYPE_DATASET):
            raise ForbiddenError(
                path, "named datatype" if info.type == h5o.TYPE_NAMED_DATATYPE else f"object {info.type}"
            )
        if info.type == h5o.TYPE_GROUP:
            if info.addr in groups:  # a cycle, or a tree that doubles at each level
                raise ForbiddenError(path, "group again")
            groups.add(info.addr)
        found = h5o.open(parent, name)
        yield path, found
        if isinstance(found, h5g.GroupID):
            left += reversed([(below, found, raw) for below, raw in hard_links(found, path, budget)])


def hard_links(group: Any, path: str, budget: Budget) -> list[tuple[str, bytes]]:
    """Returns the path and the name of each link in a group, none of them followed, all of them hard.

    Raises:
        ForbiddenError: One is not hard.
        ExcessError: There are too many, or their names are too long or nest too deep.
        DamageError: A name is none.
    """
    from h5py import h5, h5l, h5p

    seen: list[tuple[bytes, int]] = []

    def take(raw: bytes, info: Any) -> None:
        budget.spend("links")
        budget.spend_text(len(path.encode()) + len(raw))
        seen.append((raw, info.type))

    is_ordered = group.get_create_plist().get_link_creation_order() & h5p.CRT_ORDER_INDEXED
    order = h5.INDEX_CRT_ORDER if is_ordered else h5.INDEX_NAME
    visit(take, lambda each: group.links.iterate(each, idx_type=order, order=h5.ITER_INC, info=True))
    if len({raw for raw, _ in seen}) != len(seen):
        raise DamageError(f"two links in group {path!r} have one name")
    if seen and path.count("/") + 1 >= _DEPTH:
        raise ExcessError(f"its groups nest more than {_DEPTH} deep")
    found = []
    for raw, kind in seen:
        name = checked_name(raw, path)
        below = f"{path}/{name}" if path else name
        if kind in (h5l.TYPE_SOFT, h5l.TYPE_EXTERNAL):
            raise ForbiddenError(below, "soft link" if kind == h5l.TYPE_SOFT else "external link", target(group, raw))
        if kind != h5l.TYPE_HARD:
            raise ForbiddenError(below, f"link of kind {kind}")
        found.append((below, raw))
    return found


def visit(take: Callable[[bytes, Any], None], iterate: Callable[[Callable[[bytes, Any], bool | None]], object]) -> None:
    """Lets HDF5 show each link or attribute to `take`; an error of its ends that, but is raised only afterwards.

    h5py does not bear one that is raised in the midst of it.
    """
    errors: list[Exception] = []

    def shown(raw: bytes, info: Any) -> bool | None:
        try:
            take(raw, info)
        except Exception as error:
            errors.append(error)
        return True if errors else None  # anything but None ends it

    iterate(shown)
    if errors:
        raise errors[0]


def checked_name(raw: bytes, path: str) -> str:
    """Returns a link's name as text; a slash in it would be followed like a path, unseen.

    Raises:
        ExcessError: It is too long.
        DamageError: It is no name.
    """
    if len(raw) > _LONGEST_NAME:
        raise ExcessError(f"a name in group {path!r} has more than {_LONGEST_NAME:,} bytes")
    if raw in (b"", b".", b"..") or b"/" in raw:
        raise DamageError(f"group {path!r} has a link with the name {raw!r}")
    return decoded(raw, f"a name in group {path!r}")


def decoded(raw: bytes, what: str) -> str:
    """Returns bytes as text.

    Raises:
        DamageError: They are none.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DamageError(f"{what} is no text in UTF-8") from error


def target(group: Any, raw: bytes) -> str:
    """Returns where a soft or external link leads."""
    value = group.links.get_val(raw)
    parts = value if isinstance(value, tuple) else (value,)
    return ":".join(part.decode("utf-8", "backslashreplace") for part in parts)[:_LONGEST_NAME]


def dataset_facts(dataset: Any, path: str) -> dict[str, Any]:
    """Returns what the parent judges of a data set.

    Raises:
        ForbiddenError: It lies in other files, of which to ask more would open them.
    """
    from h5py import h5d, h5o

    properties = dataset.get_create_plist()
    kind = properties.get_layout()
    if kind == h5d.VIRTUAL:
        named = properties.get_virtual_filename(0) if properties.get_virtual_count() else ""
        raise ForbiddenError(path, "virtual data set", str(named)[:_LONGEST_NAME])
    if properties.get_external_count():
        named = properties.get_external(0)[0].decode("utf-8", "backslashreplace")
        raise ForbiddenError(path, "external storage", named[:_LONGEST_NAME])
    is_chunked = kind == h5d.CHUNKED
    return {
        "shape": shape_of(dataset.get_space()),
        "dtype": dtype_of(dataset.get_type()),
        "item": item_bytes(dataset),
        "filters": [properties.get_filter(index)[0] for index in range(properties.get_nfilters())],
        "chunk": list(properties.get_chunk()) if is_chunked else [],
        "chunks": dataset.get_num_chunks() if is_chunked else 0,
        "stored": dataset.get_storage_size(),
        "address": h5o.get_info(dataset).addr,
    }


def shape_of(space: Any) -> list[int]:
    """Returns the shape of a dataspace; of one that is none (`h5py.Empty`), that of no elements."""
    from h5py import h5s

    return [0] if space.get_simple_extent_type() == h5s.NULL else list(space.get_simple_extent_dims())


def item_bytes(dataset: Any) -> int:
    """Returns the bytes of one element in the file: of a text of any length, those of its length and its place."""
    from h5py import h5i

    kind = dataset.get_type()
    if dtype_of(kind) != "string":
        return int(kind.get_size())
    address_bytes, _ = h5i.get_file_id(dataset).get_create_plist().get_sizes()
    return _LENGTH_BYTES + int(address_bytes) + _INDEX_BYTES


def dtype_of(kind: Any) -> str:
    """Returns a datatype as NumPy writes it, or a word for what NumPy or no reader of models should have."""
    from h5py import h5t

    if kind.committed():
        return "named datatype"
    if kind.detect_class(h5t.REFERENCE):
        return "references"
    if kind.detect_class(h5t.VLEN):
        return "variable length"
    if kind.get_class() == h5t.STRING and kind.is_variable_str():
        return "string"
    try:
        return str(kind.dtype.str)
    except (TypeError, ValueError):
        return "unknown"


def attributes_of(found: Any, path: str, budget: Budget) -> dict[str, Any]:
    """Returns the texts and small numbers among an object's attributes; others are not read.

    Raises:
        ExcessError: They are too many or too large.
        DamageError: One is no text.
    """
    from h5py import h5a

    names: list[bytes] = []

    def take(raw: bytes, info: Any) -> None:
        budget.spend("attributes")
        budget.spend_text(len(raw))
        if info.data_size > _TEXT:
            raise ExcessError(f"an attribute of {path or '/'!r} has {info.data_size:,} bytes, more than {_TEXT:,}")
        names.append(raw)

    visit(take, lambda each: h5a.iterate(found, each, info=True))
    values = {}
    for raw in names:
        value = attribute_value(h5a.open(found, raw), f"attribute {raw!r} of {path or '/'!r}", budget)
        if value is not None:
            values[decoded(raw, f"an attribute's name at {path or '/'!r}")] = value
    return values


def attribute_value(attribute: Any, what: str, budget: Budget) -> Any:
    """Returns an attribute's text or number, or a list of such; None for what is neither."""
    import numpy as np
    from h5py import h5s, h5t

    kind, space = attribute.get_type(), attribute.get_space()
    is_text = kind.get_class() == h5t.STRING
    if space.get_simple_extent_type() == h5s.NULL or space.get_simple_extent_ndims() > 1 or kind.committed():
        return None
    if not is_text and kind.get_class() not in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM):
        return None
    if not is_text and space.get_simple_extent_npoints() > _NUMBERS:
        return None
    values = np.zeros(space.get_simple_extent_dims(), kind.dtype)
    attribute.read(values)
    items = values.reshape(-1).tolist()
    if is_text:
        budget.spend_text(sum(len(item or b"") for item in items))
        items = [decoded(item or b"", what) for item in items]
    elif values.dtype.kind == "f":
        items = [float(item) for item in items]  # a long double is none of JSON's
    return items if values.ndim else items[0]


def chunks_read(file: Any, descriptor: int, size: int) -> dict[str, Any]:
    """Unpacks all that is chunked or of variable length once, and returns how many data sets those were."""
    from h5py import h5d, h5g

    count = 0
    for path, found in objects(file, Budget()):
        if isinstance(found, h5g.GroupID) or not math.prod(shape_of(found.get_space())):
            continue
        properties = found.get_create_plist()
        is_chunked = properties.get_layout() == h5d.CHUNKED
        if is_chunked:
            check_chunks(found, properties, path, descriptor, size)
        if is_chunked or dtype_of(found.get_type()) == "string":
            read_blocks(found, properties.get_chunk() if is_chunked else ())
            count += 1
    return {"read": count}


def check_chunks(dataset: Any, properties: Any, path: str, descriptor: int, size: int) -> None:
    """Inflates each chunk in small pieces, for HDF5 lets one take any memory, and reads behind the end of a short one.

    Raises:
        DamageError: A chunk lies outside of the file, or unpacks to less than its data set says.
        ExcessError: It unpacks to more.
    """
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    expected = math.prod(properties.get_chunk()) * item_bytes(dataset)
    stored: list[Stored] = []
    dataset.chunk_iter(lambda info: stored.append(Stored(info.filter_mask, info.byte_offset, info.size)))
    for chunk in stored:
        if (end := chunk.offset + chunk.size) > size:
            raise DamageError(f"a chunk of data set {path!r} ends at byte {end:,}, and the file at {size:,}")
        found = unpacked_bytes(chunk, filters, descriptor, expected + _CHECKSUM_BYTES, path)
        if found != expected:
            wrong = f"a chunk of data set {path!r} unpacks to {found:,} bytes instead of {expected:,}"
            raise DamageError(wrong) if found < expected else ExcessError(wrong)


def unpacked_bytes(chunk: Stored, filters: Sequence[int], descriptor: int, most: int, path: str) -> int:
    """Returns how many bytes a chunk unpacks to, its filters undone from the last to the first."""
    found = chunk.size
    for index in reversed(range(len(filters))):
        if chunk.mask >> index & 1:
            continue
        if filters[index] == _FLETCHER32:
            found -= _CHECKSUM_BYTES
        if filters[index] == _GZIP:
            found = inflated_bytes(descriptor, chunk.offset, found, most, path)
    return found


def inflated_bytes(descriptor: int, offset: int, size: int, most: int, path: str) -> int:
    """Returns how many bytes come out of a compressed chunk; not many more than `most` are ever made.

    Raises:
        DamageError: It cannot be inflated.
        ExcessError: More than `most` come.
    """
    inflater, total, stop = zlib.decompressobj(), 0, offset + size
    data = b""
    while not inflater.eof:
        if not data:
            data = os.pread(descriptor, min(_PIECE, max(0, stop - offset)), offset)
            offset += len(data)
            if not data:
                raise DamageError(f"a chunk of data set {path!r} is compressed and has no end")
        try:
            total += len(inflater.decompress(data, _PIECE))
        except zlib.error as error:
            raise DamageError(f"a chunk of data set {path!r} cannot be inflated ({error})") from error
        data = inflater.unconsumed_tail
        if total > most:
            raise ExcessError(f"a chunk of data set {path!r} unpacks to more than the {most:,} bytes that it may have")
    return total


def read_blocks(dataset: Any, chunk: Sequence[int]) -> None:
    """Reads a data set through HDF5, some whole chunks at a time."""
    import numpy as np
    from h5py import h5s

    kind, space = dataset.get_type(), dataset.get_space()
    shape = space.get_simple_extent_dims()
    block = block_shape(shape, chunk or (1,) * len(shape), kind.get_size())
    for start in product(*(range(0, length, step) for length, step in zip(shape, block, strict=True))):
        count = tuple(min(step, length - at) for at, step, length in zip(start, block, shape, strict=True))
        memory = h5s.create_simple(count) if shape else h5s.create(h5s.SCALAR)
        if shape:
            space.select_hyperslab(start, count)
        dataset.read(memory, space, np.empty(count, kind.dtype))


def block_shape(shape: Sequence[int], chunk: Sequence[int], item: int) -> tuple[int, ...]:
    """Returns the shape of whole chunks, as many as fit a block, more of them along the last axes.

    >>> block_shape((10_000, 4096), (100, 100), 4)
    (1000, 4096)
    """
    block = [min(step, length) for step, length in zip(chunk, shape, strict=True)]
    for axis in reversed(range(len(block))):
        fitting = max(1, _BLOCK // (math.prod(block) * item))
        block[axis] = min(shape[axis], block[axis] * fitting)
    return tuple(block)


def take_limits(seconds: int, memory: int) -> None:
    """Bounds what this process may take; a lower bound that it already has stays."""
    lower_limit(resource.RLIMIT_CPU, seconds, seconds + 1)  # where both are one, it is killed without a reason
    lower_limit(resource.RLIMIT_AS, memory)
    lower_limit(resource.RLIMIT_CORE, 0)
    lower_limit(resource.RLIMIT_FSIZE, 0)  # a pipe has none
    for name in [name for name in os.environ if name.startswith("HDF5_")]:
        del os.environ[name]
    os.environ["HDF5_PLUGIN_PRELOAD"] = "::"  # HDF5's word for: load no filter from any folder
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each thread would take of the memory


def lower_limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lowers a limit of this process for good."""
    _, most = resource.getrlimit(kind)
    limits = [limit if most == resource.RLIM_INFINITY else min(limit, most) for limit in (soft, hard or soft)]
    resource.setrlimit(kind, (limits[0], limits[1]))


def answer(task: str, path: str) -> dict[str, Any]:
    """Returns what is found in a file, or why not."""
    try:
        from h5py import h5f, h5p

        access = h5p.create(h5p.FILE_ACCESS)
        access.set_file_locking(False, True)  # a read-only file system may refuse locks
        file = h5f.open(os.fsencode(path), h5f.ACC_RDONLY, access)
        descriptor = os.open(path, os.O_RDONLY)
        for name in ("ascii", "latin-1", "utf-8"):
            codecs.lookup(name)  # NumPy would load them later on
        lower_limit(resource.RLIMIT_NOFILE, 0)  # whatever the file leads to, nothing more can be opened
        return listing(file) if task == "list" else chunks_read(file, descriptor, os.fstat(descriptor).st_size)
    except ExcessError as error:
        return {"excess": str(error)}
    except DamageError as error:
        return {"failure": str(error)}
    except MemoryError:
        return {"memory": True}
    except Exception as error:  # of any kind: h5py turns HDF5's refusals into a dozen
        text = f"{error}"
        if any(words in text.casefold() for words in _NO_MEMORY):
            return {"memory": True}
        return {"failure": f"h5py cannot read it ({type(error).__name__}: {text[:300]})"}


def main(task: str, seconds: str, memory: str, path: str, *folders: str) -> None:
    """Writes the answer to standard output."""
    take_limits(int(seconds), int(memory))
    sys.path += [folder for folder in folders if folder not in sys.path]
    text = json.dumps(answer(task, path), ensure_ascii=False)
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

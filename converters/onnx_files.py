"""Reads ONNX models, and refuses what could do harm before anything is computed from it.

A model with weights in other files has them inside once it is read: no library that is given it opens a file.

Attacks: https://github.com/onnx/onnx/security/advisories (external data that leaves the folder, by name or by link).
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError

from zoo.errors import IntegrityError, NotFoundError, UnsafeFileError

_NODES = 100_000  # of a model, those of its functions and sub-graphs among them; large language models have 10,000
_NESTED = 8  # sub-graphs in each other
_CALLS = 100  # of functions in each other
_ELEMENTS = 1 << 36  # of one weight: 256 GiB of float32
_LARGEST = (1 << 31) - 1  # bytes of one message, for every reader of protobuf
_TIMES = 4  # as many times the bytes of a file of weights may be read: some weights may be one


def read_onnx(model: onnx.ModelProto | str | os.PathLike[str]) -> onnx.ModelProto:
    """Returns a model of the caller's own, with all of its weights inside and its functions written out.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is no ONNX model, damaged, or newer than the `onnx` that is installed.
        UnsafeFileError: It reaches for files elsewhere, or is larger or deeper than models are.
    """
    if isinstance(model, onnx.ModelProto):
        proto, folder = onnx.ModelProto(), None
        proto.CopyFrom(model)
        name = "the model"
    else:
        path = Path(model)
        proto, folder, name = _parsed(path), path.parent, path.name
    _refuse_newer(proto, name)
    _refuse_larger(proto, name)
    outside = Counter[str]()
    for tensor in _tensors(proto):
        _refuse_odd(tensor, name)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _read_outside(tensor, folder, name, outside)
    return onnx.inliner.inline_local_functions(proto) if proto.functions else proto


def _parsed(path: Path) -> onnx.ModelProto:
    proto, data = onnx.ModelProto(), _bytes_in(path)
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        if "MaxDepth" in str(error):
            raise UnsafeFileError(f"Refused {path.name}: its parts are nested deeper than any model's.") from error
        raise IntegrityError(f"{path.name} is no ONNX model, or damaged. Fetch or export it again.") from error
    if not proto.ir_version or not proto.HasField("graph"):
        raise IntegrityError(f"{path.name} is no ONNX model: it has no graph. Fetch or export it again.")
    return proto


def _bytes_in(path: Path) -> bytes:
    """Returns the bytes of a file, if it is one and no larger than a model can be."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_size <= _LARGEST:
                return file.read()
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}. Give the path of an ONNX model.") from None
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}.") from error
    if stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(
            f"Refused {path.name}: it has {found.st_size:,} bytes, and an ONNX model {_LARGEST:,} at most; larger ones "
            "keep their weights in another file."
        )
    raise IntegrityError(f"Expected an ONNX model; {path} is no file.")


def _refuse_newer(proto: onnx.ModelProto, name: str) -> None:
    newest = onnx.defs.onnx_opset_version()
    for each in proto.opset_import:
        if each.domain in ("", "ai.onnx") and not 1 <= each.version <= newest:
            raise IntegrityError(
                f"{name} is of operator set {each.version} of ONNX; 1 to {newest} are known here. Export it for an "
                "older one, or install a newer onnx: pip install --upgrade onnx"
            )
    if proto.ir_version > onnx.IR_VERSION:
        raise IntegrityError(
            f"{name} is of version {proto.ir_version} of the format; {onnx.IR_VERSION} is the newest that is known "
            "here. Install a newer onnx: pip install --upgrade onnx"
        )
    if not proto.opset_import:
        raise IntegrityError(f"{name} does not say of which operator set it is. Export it again.")


def _refuse_larger(proto: onnx.ModelProto, name: str) -> None:
    """Refuses a model with more nodes than models have, counted as if every call of a function were written out."""
    try:
        _Count(proto).nodes(proto.graph.node, 1, ())
    except _BeyondMeasureError as error:
        raise UnsafeFileError(f"Refused {name}: {error}.") from None


class _BeyondMeasureError(Exception):
    """Says what no model has."""


class _Count:
    """Counts nodes; a function once, however often it is called."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.bodies = {(each.domain, each.name): each.node for each in proto.functions}
        self.known: dict[tuple[str, str], int] = {}

    def nodes(self, nodes: Iterable[onnx.NodeProto], depth: int, above: tuple[tuple[str, str], ...]) -> int:
        if depth > _NESTED:
            raise _BeyondMeasureError(f"more than {_NESTED} of its graphs are nested in each other")
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            total += self._function(key, above) if key in self.bodies else 1
            for attribute in node.attribute:
                for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                    total += self.nodes(graph.node, depth + 1, above)
            if total > _NODES:
                raise _BeyondMeasureError(f"it has more than {_NODES:,} nodes")
        return total

    def _function(self, key: tuple[str, str], above: tuple[tuple[str, str], ...]) -> int:
        if key in above:
            raise _BeyondMeasureError(f"its function {key[1]!r} calls itself")
        if len(above) > _CALLS:
            raise _BeyondMeasureError(f"its functions call each other more than {_CALLS} deep")
        if key not in self.known:
            self.known[key] = self.nodes(self.bodies[key], 1, (*above, key))
        return self.known[key]


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yields every tensor in a model, wherever it stands."""
    graphs: list[onnx.GraphProto] = [proto.graph]
    nodes: list[onnx.NodeProto] = [node for function in proto.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            for sparse in (
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors
            ):  # fmt: skip
                yield from (sparse.values, sparse.indices)
            graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _refuse_odd(tensor: onnx.TensorProto, name: str) -> None:
    """Refuses a tensor whose sizes are none, or who has not as many bytes as they say."""
    if any(each < 0 for each in tensor.dims) or math.prod(tensor.dims) > _ELEMENTS:
        raise UnsafeFileError(f"Refused {name}: its weight {tensor.name!r} has the shape {tuple(tensor.dims)}.")
    if tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.HasField("raw_data"):
        expected = _bytes_of(tensor, name)
        if expected is not None and len(tensor.raw_data) != expected:
            raise IntegrityError(
                f"{name} is damaged: its weight {tensor.name!r} of shape {tuple(tensor.dims)} should have {expected:,} "
                f"bytes, and has {len(tensor.raw_data):,}. Fetch or export it again."
            )


def _bytes_of(tensor: onnx.TensorProto, name: str) -> int | None:
    """Returns how many bytes a tensor's elements take; None where several of them share one."""
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError:
        raise IntegrityError(f"{name}: its weight {tensor.name!r} is of an unknown type, {tensor.data_type}.") from None
    small = {getattr(onnx.TensorProto, each, -1) for each in ("INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2")}
    return None if tensor.data_type in small else int(math.prod(tensor.dims)) * int(kind.itemsize)


# --- weights in other files ---


def _read_outside(tensor: onnx.TensorProto, folder: Path | None, name: str, taken: Counter[str]) -> None:
    """Reads a tensor's bytes from the file beside the model that has them, into the model.

    Args:
        tensor: The weight.
        folder: That of the model.
        name: The model's.
        taken: How many bytes were read of each file.
    """
    told = {each.key: each.value for each in tensor.external_data}
    if folder is None:
        raise IntegrityError(
            f"The weight {tensor.name!r} lies in another file, {told.get('location')!r}. Give the path of the model's "
            "file."
        )
    path = _place(folder, told.get("location", ""), tensor.name, name)
    start, length = _span(tensor, told, name)
    with _opened(path, name) as file:
        size = os.fstat(file.fileno()).st_size
        if start + length > size:
            raise IntegrityError(
                f"{name}: the weight {tensor.name!r} ends at byte {start + length:,} of {path.name!r}, which has only "
                f"{size:,}. Fetch or export both again."
            )
        taken[str(path)] += length
        if taken[str(path)] > _TIMES * size:
            raise UnsafeFileError(f"Refused {name}: its weights are over {_TIMES} times as large as {path.name!r} is.")
        file.seek(start)
        tensor.raw_data = file.read(length)
    del tensor.external_data[:]
    tensor.ClearField("data_location")


def _span(tensor: onnx.TensorProto, told: Mapping[str, str], name: str) -> tuple[int, int]:
    """Returns where in its file a tensor begins, and how many bytes it has."""
    wanted = _bytes_of(tensor, name)
    try:
        start, length = int(told.get("offset", 0)), int(told.get("length", -1 if wanted is None else wanted))
    except ValueError:
        raise IntegrityError(f"{name}: where the weight {tensor.name!r} lies is not told in numbers.") from None
    if start < 0 or length < 0 or (wanted is not None and length != wanted):
        raise IntegrityError(
            f"{name}: the weight {tensor.name!r} of shape {tuple(tensor.dims)} should have {wanted} bytes; {length} are"
            " told."
        )
    return start, length


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Opens a file of weights, if it is one of its own."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise IntegrityError(
            f"{name} keeps weights in {path.name!r}, which is not beside it. Get that file too, or make one of both: "
            "onnx.save(onnx.load(...), 'whole.onnx')"
        ) from None
    except OSError as error:
        raise UnsafeFileError(
            f"Refused {name}: its weights' file {path.name!r} cannot be opened: {error.strerror}."
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise UnsafeFileError(
                f"Refused {name}: its weights' file {path.name!r} is no file of its own, but has another name "
                "elsewhere or is no file at all. Copy it: the copy is accepted."
            )
        yield file


def _place(folder: Path, location: str, weight: str, name: str) -> Path:
    """Returns where a file of weights lies: below the model's folder, and no part of its path a link."""
    pure = PurePosixPath(location)
    if not location or "\0" in location or "\\" in location or pure.is_absolute() or ".." in pure.parts:
        raise UnsafeFileError(
            f"Refused {name}: its weight {weight!r} would be read from {location!r}, outside its folder."
        )
    path = folder
    for part in pure.parts:
        path = path / part
        if path.is_symlink():
            raise UnsafeFileError(f"Refused {name}: its weights' file {location!r} is a link. Copy what it points to.")
    return path

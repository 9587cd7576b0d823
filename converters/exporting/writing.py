"""Writes a graph as an ONNX file, weight by weight: no second copy of all of them is ever in memory.

The format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, in the encoding
https://protobuf.dev/programming-guides/encoding/. A message's length stands before it, so sizes are summed up first.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from zoo.converters.exporting.net import Array, Dims, Net

from zoo.errors import DiskError

PRODUCER = "zoo-transfer"  # what the files say who wrote them
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # fields of ModelProto, GraphProto and TensorProto
_LENGTH_DELIMITED = 2
_SMALL = 1 << 10  # bytes of a number that stays in the file beside large weights
_LARGEST_GRAPH = 1 << 26  # bytes of a model whose weights are elsewhere
_ALIGNED = 1 << 12  # bytes: a page, so that a weight can be mapped
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    name: str
    producer: str
    version: str
    note: str


@contextlib.contextmanager
def private_folder(path: Path) -> Iterator[Path]:
    """Gives a folder beside `path` to write in under the final names; it is removed on leaving.

    Raises:
        DiskError: It cannot be written there.
    """
    folder = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        yield folder
    except OSError as error:
        if isinstance(error, DiskError):
            raise
        room = "free some space, or " if error.errno in _FULL else ""
        raise DiskError(f"Cannot write {path}: {error.strerror or error}; {room}choose another folder.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, path: Path) -> None:
    """Gives what was written in a private folder its place: the weights first, the model last.

    The weights of a model have a name of their own: until the model is in its place, an earlier one has those that it
    had. They go last, if they were ours. Where the model cannot be put there, nothing stays but what was there.
    """
    before = data_of(path)
    written = {each.name: path.with_name(each.name) for each in folder.iterdir() if each.name != path.name}
    try:
        for name, place in [*written.items(), (path.name, path)]:
            _flush(folder / name)
            (folder / name).replace(place)
    except OSError:
        for place in set(written.values()) - set(before):
            place.unlink(missing_ok=True)
        raise
    _flush(path.parent)
    for place in set(before) - set(written.values()):
        if _is_ours(place, path):
            place.unlink(missing_ok=True)


def data_of(path: Path) -> list[Path]:
    """Returns the files beside a model written here that have its weights; none for a model of another."""
    if not path.is_file() or path.stat().st_size > _LARGEST_GRAPH:
        return []
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        return []
    if model.producer_name != PRODUCER:
        return []
    entries = (entry for each in model.graph.initializer for entry in each.external_data)
    places = {entry.value for entry in entries if entry.key == "location"}
    beside = [path.parent / each for each in sorted(places) if each and Path(each).name == each]
    return [each for each in beside if each.is_file() and not each.is_symlink()]


def _is_ours(place: Path, path: Path) -> bool:
    """Returns whether a file is called as weights of the model at `path` are: a copy of another refers to others."""
    return re.fullmatch(rf"{re.escape(path.name)}(\.[0-9a-f]{{8}})?\.data", place.name) is not None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_model(net: Net, path: Path, outputs: list[str], header: Header, *, outside: bool) -> onnx.ModelProto:
    """Writes a graph, and returns the model as it is without the bytes of its weights.

    Args:
        net: The graph.
        path: The file.
        outputs: Those of the net's outputs that the model has.
        header: What the file says of itself.
        outside: Whether large weights go to another file beside it, as a model of more than 2 GB must. It is called
            after the model and what it has: `net.onnx.1f0a9b3c.data`.
    """
    model = _without_weights(net, outputs, header)
    tensors = {name: _tensor(name, array) for name, array in net.constants.items()}
    if outside:
        _write_data(net, tensors, path)
    graph = model.graph.SerializeToString()
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    bare.ClearField("graph")
    with path.open("xb") as file:
        file.write(bare.SerializeToString())
        file.write(_key(_GRAPH))
        file.write(
            _number(len(graph) + sum(_field_size(_length(tensors[name], net.constants[name])) for name in tensors))
        )
        file.write(graph)
        for name, tensor in tensors.items():
            _write_weight(file, tensor, net.constants[name])
        file.flush()
        os.fsync(file.fileno())
    model.graph.initializer.extend(tensors.values())
    return model


def _without_weights(net: Net, outputs: list[str], header: Header) -> onnx.ModelProto:
    graph = onnx.helper.make_graph(
        [op.proto() for op in net.ops], header.name, _infos(net, net.inputs), _infos(net, outputs)
    )
    opsets = {"": net.opset} | {op.domain: 1 for op in net.ops if op.domain}
    if "ai.onnx.ml" in opsets:
        opsets["ai.onnx.ml"] = 2
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        producer_name=header.producer,
        producer_version=header.version,
        doc_string=header.note,
    )
    model.ir_version = max(8, onnx.helper.find_min_ir_version_for(model.opset_import, True))
    return model


def _infos(net: Net, names: list[str]) -> list[onnx.ValueInfoProto]:
    return [
        onnx.helper.make_tensor_value_info(name, net.types[name], _open_dims(net.dims.get(name), name))
        for name in names
    ]


def _open_dims(dims: Dims | None, name: str) -> list[int | str] | None:
    if dims is None:
        return None
    return [("batch" if axis == 0 else f"{name}_{axis}") if each is None else each for axis, each in enumerate(dims)]


def _tensor(name: str, array: Array) -> onnx.TensorProto:
    """Returns a weight without its bytes."""
    return onnx.TensorProto(name=name, dims=array.shape, data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype))


def _write_data(net: Net, tensors: dict[str, onnx.TensorProto], path: Path) -> None:
    """Writes the large weights of a model to a file of their own, and says in each where it is."""
    large = {name: array for name, array in net.constants.items() if array.nbytes >= _SMALL}
    if not large:
        return
    unnamed, digest = path.with_name(f"{path.name}.data"), hashlib.sha256()
    places = {}
    with unnamed.open("xb") as file:
        for name, array in large.items():
            places[name] = -(-file.tell() // _ALIGNED) * _ALIGNED
            for each in (bytes(places[name] - file.tell()), _bytes(array)):
                file.write(each)
                digest.update(each)
        file.flush()
        os.fsync(file.fileno())
    named = unnamed.rename(path.with_name(f"{path.name}.{digest.hexdigest()[:8]}.data"))
    for name, array in large.items():
        tensors[name].data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", named.name), ("offset", places[name]), ("length", array.nbytes)):
            tensors[name].external_data.add(key=key, value=str(value))


def _write_weight(file: IO[bytes], tensor: onnx.TensorProto, array: Array) -> None:
    file.write(_key(_INITIALIZER))
    file.write(_number(_length(tensor, array)))
    file.write(tensor.SerializeToString())
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        file.write(_key(_RAW_DATA))
        file.write(_number(array.nbytes))
        file.write(_bytes(array))


def _bytes(array: Array) -> memoryview:
    """Returns the bytes of an array in the order of its axes, little end first as ONNX has them."""
    little = np.ascontiguousarray(array)
    if little.dtype.byteorder == ">":
        little = little.astype(little.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _length(tensor: onnx.TensorProto, array: Array) -> int:
    outside = tensor.data_location == onnx.TensorProto.EXTERNAL
    return int(tensor.ByteSize()) + (0 if outside else _field_size(array.nbytes))


def _field_size(length: int) -> int:
    return 1 + len(_number(length)) + length


def _key(field: int) -> bytes:
    return bytes([field << 3 | _LENGTH_DELIMITED])


def _number(value: int) -> bytes:
    """Returns a whole number as protobuf has it: seven bits a byte, the lowest first.

    >>> _number(300).hex()
    'ac02'
    """
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])

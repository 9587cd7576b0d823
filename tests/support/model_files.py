"""Files of models, made by hand or by TensorFlow: ordinary ones, and the parts that hostile ones are made of."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def file_of(path: Path, data: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# --- protobuf ---


def varint(value: int) -> bytes:
    value %= 1 << 64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def fixed32(number: int, value: int) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<L", value)


# --- ONNX ---


def onnx_tensor(*more: bytes, name: str = "w", shape: Sequence[int] = (2, 3)) -> bytes:
    return b"".join(field(1, size) for size in shape) + field(2, 1) + field(8, name) + b"".join(more)


INSIDE = field(9, bytes(24))  # the six numbers of an ONNX tensor


def outside(location: str) -> bytes:
    """Returns what makes an ONNX tensor one that lies in another file."""
    return field(13, field(1, "location") + field(2, location)) + field(14, 1)


def onnx_graph(*more: bytes) -> bytes:
    node = field(1, "x") + field(1, "w") + field(2, "y") + field(4, "MatMul")
    value = field(1, "x") + field(2, field(1, field(1, 1) + field(2, field(1, field(1, 1)) + field(1, field(1, 2)))))
    return field(1, node) + field(2, "net") + field(11, value) + b"".join(more)


def onnx_model(graph: bytes, *more: bytes) -> bytes:
    return field(1, 8) + field(2, "by hand") + field(7, graph) + field(8, field(2, 17)) + b"".join(more)


ONNX = onnx_model(onnx_graph(field(5, onnx_tensor(INSIDE))))


# --- Caffe ---

PROTOTXT = b"""name: "net"
input: "data"
layer {
  name: "ip"
  type: "InnerProduct"
}
"""


def blob(*values: float) -> bytes:
    return field(5, struct.pack(f"<{len(values)}f", *values)) + field(7, field(1, varint(len(values))))


CAFFEMODEL = field(1, "net") + field(100, field(1, "ip") + field(2, "InnerProduct") + field(7, blob(1.0, 2.0)))
CAFFEMODEL_V1 = field(1, "net") + field(2, field(4, "ip") + field(5, 14) + field(6, blob(1.0, 2.0)))
CAFFEMODEL_V0 = field(1, "net") + field(2, field(1, field(1, "ip") + field(2, "innerproduct") + field(50, blob(1.0))))


# --- tables of TensorFlow checkpoints ---


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def trailer(content: bytes, compression: int = 0) -> bytes:
    crc = crc32c(content + bytes([compression]))
    return bytes([compression]) + struct.pack("<L", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def block(entries: Sequence[tuple[bytes, bytes]], restarts: Sequence[int] = (0,)) -> bytes:
    """Returns a block whose keys share nothing with each other."""
    body = b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
    return body + b"".join(struct.pack("<L", restart) for restart in restarts) + struct.pack("<L", len(restarts))


def table(*blocks: Sequence[tuple[bytes, bytes]], raw: Sequence[bytes] | None = None, compression: int = 0) -> bytes:
    """Returns a table of blocks of entries; `raw` gives the blocks' bytes instead of those that belong to them."""
    body, handles = b"", []
    for number, entries in enumerate(blocks):
        content = raw[number] if raw is not None else block(entries)
        handles.append((entries[-1][0], varint(len(body)) + varint(len(content))))
        body += content + trailer(content, compression)
    places = b""
    for content in (block([]), block(handles)):
        places += varint(len(body)) + varint(len(content))
        body += content + trailer(content)
    return body + places.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def shape_of(*sizes: int) -> bytes:
    return b"".join(field(2, field(1, size)) for size in sizes)


def bundle_entry(
    shape: Sequence[int], dtype: int = 1, *, shard: int = 0, offset: int = 0, size: int = 0, more: bytes = b""
) -> bytes:
    return field(1, dtype) + field(2, shape_of(*shape)) + field(3, shard) + field(4, offset) + field(5, size) + more


def bundle(entries: dict[str, bytes], *, shards: int = 1, header: bytes = b"") -> bytes:
    """Returns the index of a checkpoint with these entries."""
    first = field(1, shards) + header
    return table([(b"", first), *((name.encode(), entries[name]) for name in sorted(entries))])


def write_checkpoint(prefix: Path, entries: dict[str, bytes], data: bytes = bytes(64), **more: Any) -> Path:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(f"{prefix.name}.index").write_bytes(bundle(entries, **more))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    return prefix


def saved_by_tensorflow(folder: Path) -> Path:
    """Returns the prefix of a checkpoint with numbers of several kinds, text and an object graph."""
    import tensorflow as tf

    checkpoint = tf.train.Checkpoint(
        kernel=tf.Variable(tf.reshape(tf.range(12.0), (3, 4))),
        half=tf.Variable(tf.ones((2, 2), tf.bfloat16)),
        step=tf.Variable(7, dtype=tf.int64),
        words=tf.Variable(["one", "zwei", ""]),
        empty=tf.Variable(tf.zeros((0, 5))),
    )
    return Path(checkpoint.write(str(folder / "net.ckpt")))


def saved_by_tensorflow_1(folder: Path, version: int, name: str = "net.ckpt") -> Path:
    """Returns the prefix of a checkpoint of TensorFlow 1, one variable partitioned; version 1: the old kind."""
    import tensorflow as tf

    v1 = tf.compat.v1
    folder.mkdir(exist_ok=True)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("parts", shape=(10, 4), partitioner=v1.fixed_size_partitioner(3))
        v1.get_variable("vgg_16/conv1/weights", shape=(3, 3, 2, 4))
        v1.get_variable("half", shape=(3,), dtype=tf.float16)
        v1.get_variable("step", initializer=tf.constant(5, tf.int64))
        v1.get_variable("flag", initializer=True)
        v1.get_variable("words", initializer=tf.constant(["one", "zwei"]))
        v1.get_variable("none", shape=(0, 3))
        session.run(v1.global_variables_initializer())
        return Path(v1.train.Saver(write_version=version).save(session, str(folder / name)))


def saved_model(folder: Path) -> Path:
    """Returns the folder of a SavedModel with variables, an asset and a function."""
    import tensorflow as tf

    words = folder.with_name("words.txt")
    words.write_text("one\ntwo\n")
    module = tf.Module()
    module.kernel = tf.Variable(tf.ones((3, 2)))
    module.words = tf.saved_model.Asset(str(words))
    module.call = tf.function(lambda x: x @ module.kernel, input_signature=[tf.TensorSpec((None, 3))])
    tf.saved_model.save(module, str(folder))
    words.unlink()
    return folder


# --- pickles: what they do when opened is to make the file `canary` ---


class Bite:
    """What runs when its pickle is opened."""

    def __init__(self, canary: Path) -> None:
        self._canary = str(canary)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self._canary,)


def pickled(canary: Path, protocol: int) -> bytes:
    return pickle.dumps(Bite(canary), protocol)


def torch_zip(canary: Path) -> bytes:
    """Returns what `torch.save` writes: a zip, its pickle first."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(canary, 2))
        archive.writestr("archive/data/0", bytes(64))
        archive.writestr("archive/version", b"3\n")
    return file.getvalue()


def old_torch(canary: Path) -> bytes:
    """Returns what `torch.save` wrote before 1.6: pickles in a row, the first of them a number."""
    return pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickled(canary, 2)


# --- damage ---


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Returns `data` with some random damage: bits, bytes, cuts, insertions, repetitions, lengths made huge."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(out) + 1)
        match chance.randrange(7):
            case 0 if at < len(out):
                out[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(out):
                out[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del out[at:]
            case 3:
                del out[at : at + chance.randrange(1, 64)]
            case 4:
                out[at:at] = chance.randbytes(chance.randrange(1, 16))
            case 5:
                out[at : at + 9] = b"\xff" * chance.choice((4, 8)) + b"\x01"
            case _:
                other = chance.randrange(len(out) + 1)
                out[at:at] = out[other : other + chance.randrange(1, 256)]
    return bytes(out)

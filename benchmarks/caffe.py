"""A VGG16 of Caffe, 553 MB, to Keras: seconds and memory of zoo, beside reading its weights as other converters do.

    python benchmarks/caffe.py [--width 1.0]

Each in a process of its own, with random weights. Memory is the highest resident size above the highest that imports
took. From the files to a Keras model that was compared with onnxruntime, at most 3 times the weights plus 1 GB is the
aim. The other way only parses the file with protobuf and makes an array of each list of numbers; the ratio is against
zoo's whole step to ONNX, which does that and more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_CLASSES = 1000
_SETUP = """
import json, sys, time
from pathlib import Path
import keras, numpy as np, onnxruntime
from zoo.converters import caffe_to_onnx, onnx_to_keras
from zoo.converters.caffe.schema import NetParameter
from zoo.loading.from_caffe import load_caffe_files
prototxt, caffemodel, onnx = map(Path, sys.argv[1:])
keras.ops.matmul(keras.ops.ones((8, 8)), keras.ops.ones((8, 8)))

def highest():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
before, error, began = highest(), None, time.perf_counter()
"""
_WAYS = {
    "zoo: files to Keras, compared": (
        "model, report = load_caffe_files(prototxt, caffemodel, onnx)\nerror = report.error\n"
    ),
    "zoo: files to ONNX": "model = caffe_to_onnx(prototxt, caffemodel)\n",
    "protobuf and lists: weights alone": (
        "net = NetParameter.FromString(caffemodel.read_bytes())\n"
        "model = [np.array(list(blob.data), 'f4') for layer in net.layer for blob in layer.blobs]\n"
    ),
}
_REPORT = """
print(json.dumps({"seconds": time.perf_counter() - began, "memory": highest() - before, "error": error}))
"""


def layers(width: float) -> Iterator[tuple[str, str, tuple[int, ...], str]]:
    """Yields the layers of VGG16 with weights: name, type, shape of the kernel, and what else its definition says."""
    channels = 3
    for stage, (count, depth) in enumerate(_STAGES, 1):
        for place in range(1, depth + 1):
            made = max(1, round(count * width))
            shape = (made, channels, 3, 3)
            yield f"conv{stage}_{place}", "Convolution", shape, f"convolution_param {{ num_output: {made} pad: 1 "
            channels = made
    size, hidden = channels * 7 * 7, max(1, round(4096 * width))
    for name, made in (("fc6", hidden), ("fc7", hidden), ("fc8", _CLASSES)):
        yield name, "InnerProduct", (made, size), f"inner_product_param {{ num_output: {made} "
        size = made


def prototxt(width: float) -> str:
    """Returns the definition."""
    text, top = 'name: "VGG16"\ninput: "data"\ninput_shape { dim: 10 dim: 3 dim: 224 dim: 224 }\n', "data"
    for name, kind, _, given in layers(width):
        more = "kernel_size: 3 }" if kind == "Convolution" else "}"
        text += f'layer {{ name: "{name}" type: "{kind}" bottom: "{top}" top: "{name}" {given}{more} }}\n'
        top = name
        if name != "fc8":
            text += f'layer {{ name: "relu_{name}" type: "ReLU" bottom: "{top}" top: "{top}" }}\n'
        if name in ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"):
            text += (
                f'layer {{ name: "pool_{name}" type: "Pooling" bottom: "{top}" top: "pool_{name}" '
                "pooling_param { pool: MAX kernel_size: 2 stride: 2 } }\n"
            )
            top = f"pool_{name}"
    return text + f'layer {{ name: "prob" type: "Softmax" bottom: "{top}" top: "prob" }}\n'


def write_caffemodel(file: IO[bytes], width: float) -> int:
    """Writes the weights, and returns how many bytes they have."""
    rng, count = np.random.default_rng(0), 0
    for name, kind, shape, _ in layers(width):
        kernel = rng.standard_normal(shape, dtype=np.float32) * np.float32((2 / np.prod(shape[1:])) ** 0.5)
        blobs = b"".join(_field(7, _blob(each)) for each in (kernel, np.zeros(shape[0], "f4")))
        file.write(_field(100, _field(1, name.encode()) + _field(2, kind.encode()) + blobs))
        count += kernel.nbytes + 4 * shape[0]
    return count


def _blob(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    return _field(7, _field(1, b"".join(map(_varint, array.shape)))) + _field(5, array.tobytes())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def main() -> None:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=1.0, help="channels, relative to VGG16's")
    width = parser.parse_args().width
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("deploy.prototxt", "net.caffemodel", "net.onnx")]
        paths[0].write_text(prototxt(width))
        with paths[1].open("wb") as file:
            size = write_caffemodel(file, width)
        found = {}
        for title, code in _WAYS.items():
            found[title] = measured(code, paths)
            print(line(title, found[title], size), flush=True)
        ours, theirs = list(found.values())[1:]
        if theirs:
            ratios = (theirs[key] / ours[key] for key in ("seconds", "memory"))
            print("lists of numbers take {:.1f} x the seconds and {:.1f} x the memory".format(*ratios))


def measured(code: str, paths: list[Path]) -> dict[str, float] | None:
    """Returns what one way takes; None where it died."""
    done = subprocess.run(
        [sys.executable, "-c", _SETUP + code + _REPORT, *map(str, paths)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"exit {done.returncode}: {(done.stderr.strip().splitlines() or ['without a word'])[-1][:200]}")
        return None
    result: dict[str, float] = json.loads(done.stdout.strip().rpartition("\n")[2])
    return result


def line(title: str, found: dict[str, float] | None, size: int) -> str:
    """Returns what there is to say of one way."""
    if found is None:
        return f"{title:36} died"
    aim = 3 * size + 1e9
    error = "" if found["error"] is None else f"   error {found['error']:.1e}"
    return (
        f"{title:36} {found['seconds']:6.1f} s   {found['memory'] / 1e6:6.0f} MB = {found['memory'] / size:.2f} x the "
        f"weights ({found['memory'] / aim:.2f} of the aim){error}"
    )


if __name__ == "__main__":
    main()

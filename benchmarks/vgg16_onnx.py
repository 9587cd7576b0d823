"""VGG16 to ONNX and back: seconds and memory of zoo, beside `keras.Model.export(format="onnx")` under a limit.

    python benchmarks/vgg16_onnx.py [--arch vgg16] [--gigabytes 20] [--only export,keras,import]

Each in a process of its own, with random weights (553 MB for VGG16). Memory is the highest resident size above the
highest that the imports and a first multiplication took: the model itself is in it, and the comparison of the result.
At most 3 times the weights plus 1 GB is the aim. Keras gets as much address space as is told, and may die of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

_SETUP = """
import ctypes, json, sys, time
from pathlib import Path
import keras, numpy as np, onnxruntime, tf2onnx
from tf2onnx import optimizer, tf_loader, tfonnx
from zoo.converters import keras_to_onnx, onnx_to_keras
from zoo.loading.building import build_architecture, roomy_copy
arch, path = sys.argv[1:]
keras.ops.matmul(keras.ops.ones((8, 8)), keras.ops.ones((8, 8)))

def highest():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

def random_model():
    # As large as random weights of a new net are. They are written where the zeros are: what Keras and TensorFlow would
    # take and keep for making them is no part of what is measured.
    model, rng = roomy_copy(build_architecture(arch)), np.random.default_rng(0)
    for each in model.weights:
        zeros = np.asarray(memoryview(each.value.value()))
        place = ctypes.cast(zeros.__array_interface__["data"][0], ctypes.POINTER(ctypes.c_float))
        values = np.ctypeslib.as_array(place, shape=zeros.shape)
        rng.standard_normal(dtype=np.float32, out=values)
        values *= (2 / np.prod(each.shape[:-1])) ** 0.5 if len(each.shape) > 1 else 0.1
        if each.path.endswith(("variance", "gamma")):
            values += 1
    return model

Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
before, error = highest(), None
"""
_WAYS = {
    "export": (
        "zoo: Keras to ONNX, compared",
        "model = random_model()\n",
        "error = keras_to_onnx(model, path).error\n",
    ),
    "keras": (
        'keras.Model.export(format="onnx")',
        "model = random_model()\nmodel(keras.ops.zeros((1, *model.input_shape[1:])))\n",  # or else Keras refuses it
        'model.export(path + "-keras.onnx", format="onnx", verbose=False)\n',
    ),
    "import": ("zoo: ONNX to Keras, compared", "", "model, report = onnx_to_keras(path)\nerror = report.error\n"),
}
_REPORT = """
seconds, memory = time.perf_counter() - began, highest() - before
size = sum(np.prod(each.shape) * 4 for each in model.weights)
print(json.dumps({"seconds": seconds, "memory": memory, "weights": float(size), "error": error}))
"""


def main() -> None:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="vgg16")
    parser.add_argument("--gigabytes", type=float, default=20, help="address space that Keras gets")
    parser.add_argument("--only", default="export,keras,import", help="which of the three; import needs export")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.onnx")
        for name in options.only.split(","):
            print(line(name, options.arch, path, int(options.gigabytes * 2**30)), flush=True)


def line(name: str, arch: str, path: str, limit: int) -> str:
    """Measures one way, and returns what to say of it."""
    title, made, measured = _WAYS[name]
    code = _SETUP + made + "began = time.perf_counter()\n" + measured + _REPORT

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        Path("/proc/self/oom_score_adj").write_text("1000")  # if memory runs out, this is what may go

    done = subprocess.run(
        [sys.executable, "-c", code, arch, path], capture_output=True, text=True, check=False,
        preexec_fn=limited if name == "keras" else None,
    )  # fmt: skip
    if done.returncode < 0:
        return f"{title:36} died: killed by signal {-done.returncode}; with 9 the system does so where memory runs out"
    if done.returncode > 0:
        why = (done.stderr.strip().splitlines() or ["without a word"])[-1][:120]
        return f"{title:36} died under {limit / 2**30:.0f} GB of address space: {why}"
    found = json.loads(done.stdout.strip().rpartition("\n")[2])
    aim = 3 * found["weights"] + 1e9
    error = "not compared" if found["error"] is None else f"error {found['error']:.1e}"
    return (
        f"{title:36} {found['seconds']:6.1f} s   {found['memory'] / 1e6:6.0f} MB = "
        f"{found['memory'] / found['weights']:.2f} x the weights ({found['memory'] / aim:.2f} of the aim)   {error}"
    )


if __name__ == "__main__":
    main()

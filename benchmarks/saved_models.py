"""SavedModels to Keras: parity, units, seconds and memory of zoo, beside tf2onnx in its plain way under a limit.

    python benchmarks/saved_models.py [--nets vgg16,resnet50,...] [--plain resnet50,vgg16] [--gigabytes 12]

Each in a process of its own, with random weights. Memory is the highest resident size above the highest that the
imports and a first multiplication took: what TensorFlow keeps of the SavedModel is in it, and the comparison of the
result. The aims are 2.5 GB for ResNet50 and 4 GB for VGG16. The plain way, `python -m tf2onnx.convert --saved-model`,
gets as much address space as is told, may die of it, and compares nothing. `keras2:`, `old:` and `hub:` before a name
save the net as Keras 2, as TensorFlow 1, and as a function with an argument `trainable` and no signature.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

_NETS = (
    "ResNet50,VGG16,MobileNetV2,DenseNet121,EfficientNetB0,InceptionV3,Xception,ConvNeXtTiny,keras2:MobileNet,"
    "old:ResNet50,hub:MobileNetV2"
)
_SAVING = """
import sys
import numpy as np, tensorflow as tf
kind, name, folder = sys.argv[1:]
module = __import__("tf_keras") if kind == "keras2" else __import__("keras")
headless = {"include_top": False, "pooling": "avg", "input_shape": (224, 224, 3)} if kind == "hub" else {}
net = getattr(module.applications, name)(weights=None, **headless)
rng = np.random.default_rng(0)
for each in net.weights:
    path = getattr(each, "path", each.name)
    values = rng.standard_normal(each.shape, dtype="f4")
    values *= (2 / np.prod(each.shape[:-1])) ** 0.5 if len(each.shape) > 1 else 0.1
    each.assign(values + (1 if path.split(":")[0].endswith(("variance", "gamma")) else 0))
if kind == "":
    net.export(folder, verbose=False)
elif kind == "keras2":
    net.save(folder, save_format="tf")
elif kind == "hub":
    class Hub(tf.Module):
        @tf.function
        def __call__(self, images, trainable=False):
            return net(images, training=trainable)
    hub = Hub()
    hub.variables_of_the_net = [each.value if hasattr(each, "value") else each for each in net.weights]
    spec = tf.TensorSpec(net.input_shape, tf.float32, name="images")
    for trainable in (False, True):
        hub.__call__.get_concrete_function(spec, trainable=trainable)
    tf.saved_model.save(hub, folder)
elif kind == "old":
    v1, values = tf.compat.v1, [np.asarray(each) for each in net.weights]
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, net.input_shape, name="images")
        names = [f"{each.path}_{number}" for number, each in enumerate(net.weights)]
        taken = [v1.get_variable(name, each.shape, use_resource=False) for name, each in zip(names, net.weights)]
        split = len(net.trainable_variables)
        order = [*net.trainable_variables, *net.non_trainable_variables]
        read = {id(each): tf.identity(one) for each, one in zip(net.weights, taken)}
        found, _ = net.stateless_call(
            [read[id(each)] for each in order[:split]], [read[id(each)] for each in order[split:]], x, training=False
        )
        for one, value in zip(taken, values):
            one.load(value, session)
        v1.saved_model.simple_save(session, folder, {"images": x}, {"scores": found})
from zoo.surgery import split_units
print(len(split_units(net)) if kind != "keras2" else "", sum(int(np.prod(each.shape)) * 4 for each in net.weights))
"""
_SETUP = """
import json, sys, time
from pathlib import Path
import keras, numpy as np, onnx, onnxruntime, tensorflow as tf, tf2onnx
from tf2onnx import convert, optimizer, tf_loader, tfonnx
from zoo.converters.tensorflow.importer import tensorflow_to_onnx_file
from zoo.loading.from_tensorflow import load_saved_model
from zoo.surgery import split_units
folder, target = map(Path, sys.argv[1:])
keras.ops.matmul(keras.ops.ones((8, 8)), keras.ops.ones((8, 8)))

def highest():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
before, found, began, used = highest(), {}, time.perf_counter(), time.process_time()
"""
_WAYS = {
    "keras": (
        "model, report = load_saved_model(folder)\nlast, used = time.perf_counter(), time.process_time() - used\n"
        "found = {'error': report.error, 'units': len(split_units(model)), 'transpositions': report.transpositions}\n"
    ),
    "onnx": "tensorflow_to_onnx_file(folder, target)\nlast, used = time.perf_counter(), time.process_time() - used\n",
    "plain": (
        "sys.argv = ['tf2onnx', '--saved-model', str(folder), '--output', str(target), '--opset', '17']\n"
        "convert.main()\nlast, used = time.perf_counter(), time.process_time() - used\n"
    ),
}
_TITLES = {"keras": "to Keras, compared", "onnx": "to ONNX, compared", "plain": "tf2onnx, plain"}
_REPORT = """
print(json.dumps({"seconds": last - began, "cpu": used, "memory": highest() - before, **found}))
"""


def main() -> None:
    """Prints a line for each net and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=_NETS, help="of keras.applications")
    parser.add_argument("--plain", default="ResNet50,VGG16", help="those that tf2onnx converts too")
    parser.add_argument("--gigabytes", type=float, default=12, help="address space that tf2onnx gets")
    parser.add_argument("--ways", default=",".join(_WAYS), help="to Keras, to ONNX, by tf2onnx")
    options = parser.parse_args()
    ways = options.ways.split(",")
    for net in options.nets.split(","):
        kind, _, name = net.rpartition(":")
        with tempfile.TemporaryDirectory() as folder:
            told = run(_SAVING, [kind, name, f"{folder}/saved"])
            if told.returncode:
                print(f"{net:16} is not saved: {why(told)}")
                continue
            *units, size = told.stdout.split()[-2:] if kind != "keras2" else told.stdout.split()[-1:]
            for way in ways:
                if way != "plain" or net in options.plain.split(","):
                    limit = options.gigabytes if way == "plain" else None
                    print(line(net, way, folder, limit, units[0] if units else "?", int(size)), flush=True)


def run(code: str, arguments: list[str], gigabytes: float | None = None) -> subprocess.CompletedProcess[str]:
    """Returns what a process did that runs some code, with so much address space."""

    def limited() -> None:
        Path("/proc/self/oom_score_adj").write_text("1000")  # if memory runs out, this is what may go
        if gigabytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (int(gigabytes * 2**30),) * 2)

    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments], capture_output=True, text=True, check=False,
        preexec_fn=limited,
    )  # fmt: skip


def why(done: subprocess.CompletedProcess[str]) -> str:
    """Returns the last that a process said before it died."""
    return (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1][:200]


def line(net: str, way: str, folder: str, gigabytes: float | None, units: str, size: int) -> str:
    """Measures one way for one net, and returns what to say of it."""
    target = Path(folder) / "net.onnx"
    target.unlink(missing_ok=True)
    done = run(_SETUP + _WAYS[way] + _REPORT, [f"{folder}/saved", str(target)], gigabytes)
    if done.returncode:
        under = f" under {gigabytes:.0f} GB of address space" if gigabytes else ""
        return f"{net:18} {_TITLES[way]:18} died{under}: {why(done)}"
    found = json.loads(done.stdout.strip().rpartition("\n")[2])
    memory = f"{found['memory'] / 1e6:6.0f} MB = {found['memory'] / size:5.2f} x the weights"
    figures = f"{found['seconds']:6.1f} s ({found['cpu']:.1f} of the processor)   {memory}"
    if "error" in found:
        figures += f"   error {found['error']:.1e}, {found['units']} units of {units}"
        figures += f", {found['transpositions']} transpositions"
    return f"{net:18} {_TITLES[way]:18} {figures}"


if __name__ == "__main__":
    main()

"""Loads VGG16 from a file of published layout: how much memory that takes above the imports, and how long.

    python benchmarks/loading.py [--arch vgg16]

Random weights are written in the layout of Keras 2, then loaded by zoo (guards included) and by Keras itself
(`keras.applications.VGG16(weights=FILE)`), each in a process of its own, in turn. Memory is the highest resident size
while loading, above the highest that the imports and a first multiplication took, over the size of the weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_SETUP = """
import json, sys, time
from pathlib import Path
import h5py, keras, numpy as np
import zoo.loading.weights
from zoo.registry.architectures import ARCHITECTURES
arch, path = sys.argv[1:]
function = getattr(keras.applications, ARCHITECTURES[arch].function)
keras.ops.matmul(keras.ops.ones((8, 8)), keras.ops.ones((8, 8)))

def highest():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
before, began = highest(), time.perf_counter()
"""
_LOADERS = {
    "zoo": "model = zoo.loading.weights.load_weights(Path(path), arch)\n",
    "keras": "model = function(weights=path)\n",
}
_REPORT = """
seconds, peak = time.perf_counter() - began, highest()
size = sum(weight.numpy().nbytes for weight in model.weights)
checksum = float(sum(np.abs(weight.numpy()).sum(dtype="float64") for weight in model.weights))
print(json.dumps({"seconds": seconds, "memory": (peak - before) / size, "checksum": checksum, "bytes": size}))
"""
_WRITE = """
import sys, tf_keras
from zoo.registry.architectures import ARCHITECTURES
getattr(tf_keras.applications, ARCHITECTURES[sys.argv[1]].function)(weights=None).save_weights(sys.argv[2])
"""


def run(code: str, *words: str) -> str:
    """Runs Python code in a fresh process and returns what it prints last."""
    done = subprocess.run([sys.executable, "-c", code, *words], check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout.strip().rpartition("\n")[2]


def main() -> None:
    """Prints memory and seconds of both, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="vgg16")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "weights.h5")
        run(_WRITE, options.arch, path)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in _LOADERS}
        for _ in range(options.rounds):
            for name, load in _LOADERS.items():
                rounds[name].append(json.loads(run(_SETUP + load + _REPORT, options.arch, path)))
    assert len({each["checksum"] for found in rounds.values() for each in found}) == 1, "they loaded something else"
    best = {name: min(found, key=lambda each: each["seconds"]) for name, found in rounds.items()}
    most = {name: max(each["memory"] for each in found) for name, found in rounds.items()}
    print(f"{options.arch}: {best['zoo']['bytes']:,.0f} bytes of weights")
    for name in rounds:
        print(f"{name:6} {best[name]['seconds']:6.2f} s   {most[name]:5.2f} x the weights in memory at most")
    print(f"ratio  {best['zoo']['seconds'] / best['keras']['seconds']:6.2f}     {most['zoo'] / most['keras']:5.2f}")


if __name__ == "__main__":
    main()

"""How far a run's model in other formats is from the run: the same pictures, predicted by each format's own runtime.

    python benchmarks/export_agreement.py [--pictures 100] [--model letters-cnn] [--reuse 3] [--freeze 2]

1. A small run is made of the digits and exported to ONNX, SavedModel, TFLite and .keras.
2. Pictures of the digits, a third of them enlarged to other sizes, are written as PNG files. `Run.predict` reads them;
   every format gets the same decoded pixels, one picture at a time, as whoever serves it would do.
3. ONNX is run by a fresh process that has onnxruntime, NumPy and Pillow and cannot import zoo, Keras or TensorFlow.

Printed are the largest difference of any probability, and how many pictures get another label.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

SUFFIXES = {"ONNX": ".onnx", "SavedModel": "", "TFLite": ".tflite", "Keras": ".keras"}
LARGER = (8, 13, 40)  # sides of the pictures, in pixels

FRESH = """
import sys
for name in ("zoo", "keras", "tensorflow"):
    sys.modules[name] = None
import json, pathlib, numpy, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1])
mode = "L" if session.get_inputs()[0].shape[-1] == 1 else "RGB"
found = []
for path in sorted(pathlib.Path(sys.argv[2]).glob("*.png")):
    x = numpy.asarray(Image.open(path).convert(mode), numpy.float32)
    x = x.reshape(1, *x.shape[:2], -1)
    found.append(session.run(None, {session.get_inputs()[0].name: x})[0][0].tolist())
print(json.dumps(found))
"""


def main() -> None:
    """Makes a run, exports it, predicts with each and prints the differences; leaves nothing behind."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--model", default="letters-cnn")
    parser.add_argument("--reuse", type=int, default=3)
    parser.add_argument("--freeze", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments)


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    """Prints one line for each format."""
    import zoo

    run = zoo.transfer(
        arguments.model, reuse=arguments.reuse, freeze=arguments.freeze, train_per_class=20, epochs=10,
        out=folder / "run", home=folder / "home",
    )  # fmt: skip
    write_pictures(folder / "pictures", arguments.pictures)
    pictures = decoded(folder / "pictures", run.record["input"]["decoded"])
    expected = np.array([each.probabilities for each in run.predict(folder / "pictures")])
    print(f"{run!r}; {len(expected)} pictures of sides {', '.join(map(str, LARGER))}")
    for name, suffix in SUFFIXES.items():
        exported = run.export(folder / f"net{suffix}")
        if name == "ONNX":
            found = fresh_process(exported.path, folder / "pictures")
        else:
            predict = loaded(name, exported.path)
            found = np.stack([np.asarray(predict(picture))[0] for picture in pictures])
        others = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
        print(
            f"{name:10} largest difference {np.abs(found - expected).max():.1e}, {others} other labels; when exported: "
            f"{exported.difference:.1e} on {exported.examples} test examples; {exported.bytes:,} bytes"
        )


def write_pictures(folder: Path, count: int) -> None:
    """Writes pictures of the digits, in turn of each size."""
    import zoo

    folder.mkdir()
    digits = zoo.open_data("digits").read(np.arange(count))
    for number, picture in enumerate(digits):
        side = LARGER[number % len(LARGER)]
        Image.fromarray(picture[..., 0]).resize((side, side)).save(folder / f"{number:05}.png")


def decoded(folder: Path, color: str) -> list[Any]:
    """Returns the pictures in a folder as a model takes them, [1, h, w, channels] each."""
    pictures = (Image.open(path) for path in sorted(folder.glob("*.png")))
    arrays = (np.asarray(each.convert("L" if color == "gray" else "RGB"), np.float32) for each in pictures)
    return [each.reshape(1, *each.shape[:2], -1) for each in arrays]


def fresh_process(path: Path, pictures: Path) -> Any:
    """Returns what an ONNX file says of pictures, in a process without zoo."""
    command = [sys.executable, "-I", "-c", FRESH, str(path), str(pictures)]
    return np.array(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def loaded(name: str, path: Path) -> Callable[[Any], Any]:
    """Returns what predicts with a file of a format, through nothing of ours."""
    import keras
    import tensorflow as tf

    if name == "TFLite":
        runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner()
        return lambda x: runner(examples=x)["output_0"]
    if name == "Keras":
        model = keras.models.load_model(path)
        return lambda x: model(x, training=False)
    saved = tf.saved_model.load(str(path))
    return lambda x: saved.serve(x)


if __name__ == "__main__":
    main()

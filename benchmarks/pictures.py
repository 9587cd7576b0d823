"""Pictures and nets that the benchmarks share: JPEGs to be told apart, and nets whose random weights let them be."""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 375, 500


def write_jpegs(folder: Path, count: int, classes: int = 2, seed: int = 0) -> float:
    """Writes about 65 KB of JPEG for each picture, in class folders below `train`, `val` and `test` (70, 15, 15 %).

    The classes differ in how fine their stripes are. Returns the mean size in bytes.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    total = 0
    for number in range(count):
        kind, share = number % classes, (number // classes) / (count / classes)
        part = "train" if share < 0.7 else "val" if share < 0.85 else "test"
        angle, fineness = rng.uniform(0, np.pi), rng.uniform(0.03, 0.05) * 2.5**kind
        stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) * fineness)[..., None]
        scene = Image.fromarray(rng.integers(40, 216, (5, 7, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT), Image.BICUBIC)
        picture = np.asarray(scene) + stripes * rng.uniform(20, 60, 3) + rng.normal(0, 18, (HEIGHT, WIDTH, 3))
        file = io.BytesIO()
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=82)
        path = folder / part / f"class{kind}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.getvalue())
        total += len(file.getvalue())
    return total / count


def calibrated(name: str, folder: Path, scale: float, mean: float) -> keras.Model:
    """Returns a net of `keras.applications` with random weights, and statistics that fit pictures in `folder`.

    Without those, hardly anything of a picture is left after fifty layers of random weights.
    """
    keras.utils.set_random_seed(0)
    net: keras.Model = getattr(keras.applications, name)(weights=None)
    pictures = [Image.open(path).resize((224, 224)) for path in sorted(folder.rglob("*.jpg"))[:32]]
    x = np.stack([np.asarray(picture, np.float32) for picture in pictures]) * scale - mean
    statistics = [layer for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in statistics]
    for layer in statistics:
        layer.momentum = 0.0
    if statistics:
        net(x, training=True)
    for layer, momentum in zip(statistics, momenta, strict=True):
        layer.momentum = momentum
    return net

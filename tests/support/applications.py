"""Keras to ONNX and back, for nets of keras.applications with random weights.

python tests/support/applications.py [NAME...]      one of each family where none is named
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from zoo.converters import keras_to_onnx, onnx_to_keras

import zoo

FAMILIES = (
    *("VGG16", "ResNet50", "ResNet50V2", "InceptionV3", "InceptionResNetV2", "Xception", "MobileNet", "MobileNetV2"),
    *("MobileNetV3Small", "DenseNet121", "NASNetMobile", "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny"),
)
CLASSES = 10
_PATCH = 32  # pixels


@dataclass(frozen=True)
class RoundTrip:
    """What a net is after it was exported and imported again.

    Attributes:
        exported: The largest error of the export, relative to the largest value.
        error: That of the net that came back against the first, before softmax.
        contrast: How far the outputs for two inputs are apart, relative to the largest: a net that hardly looks at what
            it is given would hide mistakes.
        units: Of the first net, and of the one that came back.
        trainable: Numbers that train, of both.
        transpositions: That are left.
        loss: Before and after a step of training.
        unmoved: Weights meant to train that the step did not change.
    """

    exported: float
    error: float
    contrast: float
    units: tuple[int, int]
    trainable: tuple[int, int]
    transpositions: int
    loss: tuple[float, float]
    unmoved: tuple[str, ...]

    def is_good(self) -> bool:
        """Returns whether the net that came back is the first one, and can be cut and trained as that."""
        same = self.units[0] == self.units[1] and self.trainable[0] == self.trainable[1]
        return (
            self.error <= 1e-4
            and self.contrast > 0.05
            and same
            and not self.transpositions
            and self.loss[1] < self.loss[0]
            and not self.unmoved
        )


def random_net(name: str, side: int) -> keras.Model:
    """Returns a net with random weights, which its output depends on, and on its input.

    The weights of normalizations are random too, so that none can be left out, but for their statistics: those are what
    the layers see. With others, deep nets put out nearly the same for every input.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    net = getattr(keras.applications, name)(
        weights=None, input_shape=(side, side, 3), classes=CLASSES, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    norms = [each for each in net._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]
    for layer in net._flatten_layers():
        for weight in layer.weights if type(layer).__name__.endswith(("Normalization", "LayerScale")) else ():
            if weight.trainable:
                weight.assign(rng.uniform(*((0.5, 1.5) if weight.name == "gamma" else (-0.1, 0.1)), weight.shape))
    momenta = [each.momentum for each in norms]
    for each in norms:
        each.momentum = 0.0
    net(pictures(net), training=True)
    for each, momentum in zip(norms, momenta, strict=True):
        each.momentum = momentum
    return net


def pictures(net: keras.Model) -> Any:
    """Returns pictures as a net wants them, 0..255 or -1..1, of large patches: of noise, a mean would leave nothing."""
    side, count, rng = net.input_shape[1], 4, np.random.default_rng(2)
    cells = -(-side // _PATCH)
    coarse = rng.uniform(-1, 1, (count, cells, cells, 3)) + rng.uniform(-1, 1, (count, 1, 1, 3))
    found = (coarse / 2).repeat(_PATCH, 1).repeat(_PATCH, 2)[:, :side, :side].astype("float32")
    scales = (keras.layers.Rescaling, keras.layers.Normalization)
    return found * 127.5 + 127.5 if any(isinstance(each, scales) for each in net.layers[:3]) else found


def round_trip(name: str, side: int, folder: Path) -> RoundTrip:
    """Returns what becomes of a net for square pictures of `side` pixels."""
    net = random_net(name, side)
    x = pictures(net)[:2]  # others are so unlike those that the statistics were taken of that values and roundings grow
    examples = {net.layers[0].name: x}
    exported = keras_to_onnx(net, folder / "net.onnx", examples=examples)
    back, report = onnx_to_keras(folder / "net.onnx", examples=examples)
    wanted, found = (np.asarray(each(x, training=False)) for each in (net, back))
    before = [each.numpy() for each in back.trainable_weights]
    loss = _trained(back, x)
    unmoved = tuple(
        weight.path
        for weight, old in zip(back.trainable_weights, before, strict=True)
        if np.array_equal(weight.numpy(), old)
    )
    return RoundTrip(
        exported=exported.error,
        error=float(np.abs(found - wanted).max() / np.abs(wanted).max()),
        contrast=float(np.abs(wanted[0] - wanted[1]).max() / np.abs(wanted).max()),
        units=(len(zoo.split_units(net)), len(zoo.split_units(back))),
        trainable=(_numbers(net), _numbers(back)),
        transpositions=report.transpositions,
        loss=loss,
        unmoved=unmoved,
    )  # fmt: skip


def _numbers(net: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in net.trainable_weights)


def _trained(net: keras.Model, x: Any) -> tuple[float, float]:
    """Returns the loss before and after one small step, the same for each weight, against the sign of its gradient."""
    import tensorflow as tf

    y = np.arange(len(x)) % CLASSES

    def loss() -> Any:
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, net(x, training=False), from_logits=True))

    with tf.GradientTape() as tape:
        first = loss()
    gradients = tape.gradient(first, [weight.value for weight in net.trainable_weights])
    slope = sum(float(keras.ops.sum(keras.ops.abs(each))) for each in gradients if each is not None)
    step = 0.01 * float(first) / slope  # one hundredth of the loss, were it a plane
    for weight, gradient in zip(net.trainable_weights, gradients, strict=True):
        if gradient is not None:
            weight.assign(weight - max(step, 1e-6) * keras.ops.sign(gradient))
    return float(first), float(loss())


def main(names: list[str]) -> None:
    """Prints a line for each net."""
    for name in names or FAMILIES:
        began = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory() as folder:
                side = {"InceptionV3": 299, "InceptionResNetV2": 299, "Xception": 299}.get(name, 224)
                found = round_trip(name, side, Path(folder))
            print(name, "good" if found.is_good() else "BAD", found, f"{time.perf_counter() - began:.0f} s", flush=True)
        except Exception as error:
            print(name, "FAILED", type(error).__name__, str(error)[:500], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

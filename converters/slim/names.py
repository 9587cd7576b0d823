"""What the checkpoints of TF-Slim call the variables of its nets, and how those lie."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
from zoo.converters.restoring.restorer import Known
from zoo.converters.slim.families import SlimNet
from zoo.converters.slim.nets import RESNET_BLOCKS
from zoo.converters.slim.scopes import V1_BLOCKS, inception_v3_scopes

_VGG_BLOCKS = {"vgg_16": (2, 2, 3, 3, 3), "vgg_19": (2, 2, 4, 4, 4)}
_NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")

_DENSE = "HWIO->(HWI)O"  # classifiers of TF-Slim are convolutions; in Keras, dense layers of the same numbers


def slim_known(net: SlimNet, model: keras.Model) -> Known:
    """Returns the model's variable for each of a checkpoint of TF-Slim, and how those lie that do not lie as there.

    Args:
        net: Which net it is of.
        model: The net as `build_slim` makes it; it may be bare.
    """
    names = {name: target for scope, layer in _pairs(net, model) for name, target in _variables(scope, layer)}
    return Known(names, {f"{layer}/kernel": _DENSE for layer in _dense_layers(net)})


def _dense_layers(net: SlimNet) -> tuple[str, ...]:
    if net.name in _VGG_BLOCKS:
        return ("fc1", "fc2", "predictions")
    return {"mobilenet_v1": (), "inception_v1": ("Logits",)}.get(net.name, ("predictions",))


def _variables(scope: str, layer: tuple[str, str | None]) -> Iterator[tuple[str, str]]:
    kernel, normalization = layer
    yield f"{scope}/{'depthwise_weights' if scope.endswith('_depthwise') else 'weights'}", f"{kernel}/kernel"
    if normalization is None:
        yield f"{scope}/biases", f"{kernel}/bias"
    else:
        yield from ((f"{scope}/BatchNorm/{each}", f"{normalization}/{each}") for each in _NORMALIZATION)


def _pairs(net: SlimNet, model: keras.Model) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Yields the scope of each convolution, with the names of its layer and its BatchNormalization, if it has one."""
    if net.name in _VGG_BLOCKS:
        yield from _vgg(net)
    elif net.name in RESNET_BLOCKS:
        yield from _resnet(net)
    elif net.name == "mobilenet_v1":
        yield from _mobilenet(net)
    else:
        yield from _inception(net, model)


def _vgg(net: SlimNet) -> Iterator[tuple[str, tuple[str, None]]]:
    for block, count in enumerate(_VGG_BLOCKS[net.name], 1):
        for each in range(1, count + 1):
            yield f"{net.scope}/conv{block}/conv{block}_{each}", (f"block{block}_conv{each}", None)
    for scope, layer in (("fc6", "fc1"), ("fc7", "fc2"), ("fc8", "predictions")):
        yield f"{net.scope}/{scope}", (layer, None)


def _resnet(net: SlimNet) -> Iterator[tuple[str, tuple[str, str | None]]]:
    yield f"{net.scope}/conv1", ("conv1_conv", "conv1_bn")
    for block, count in enumerate(RESNET_BLOCKS[net.name], 1):
        for unit in range(1, count + 1):
            scope, name = f"{net.scope}/block{block}/unit_{unit}/bottleneck_v1", f"conv{block + 1}_block{unit}"
            for each in range(0 if unit == 1 else 1, 4):
                yield f"{scope}/{f'conv{each}' if each else 'shortcut'}", (f"{name}_{each}_conv", f"{name}_{each}_bn")
    yield net.logits, ("predictions", None)


def _mobilenet(net: SlimNet) -> Iterator[tuple[str, tuple[str, str | None]]]:
    yield f"{net.scope}/Conv2d_0", ("conv1", "conv1_bn")
    for each in range(1, 14):
        for kind, name in (("depthwise", f"conv_dw_{each}"), ("pointwise", f"conv_pw_{each}")):
            yield f"{net.scope}/Conv2d_{each}_{kind}", (name, f"{name}_bn")
    yield net.logits, ("conv_preds", None)


def _inception(net: SlimNet, model: keras.Model) -> Iterator[tuple[str, tuple[str, str | None]]]:
    if net.name == "inception_v1":
        for scope in _inception_v1_scopes():
            name = scope.replace("/", "_")
            yield f"{net.scope}/{scope}", (name, f"{name}_BatchNorm")
        yield net.logits, ("Logits", None)
        return
    convolutions = _in_order_of_making(model, keras.layers.Conv2D)
    normalizations = _in_order_of_making(model, keras.layers.BatchNormalization)
    yield from zip(inception_v3_scopes(), zip(convolutions, normalizations, strict=True), strict=True)
    yield net.logits, ("predictions", None)


def _inception_v1_scopes() -> Iterator[str]:
    yield from ("Conv2d_1a_7x7", "Conv2d_2b_1x1", "Conv2d_2c_3x3")
    for block, branches in V1_BLOCKS.items():
        for number, branch in enumerate(branches):
            yield from (f"{block}/Branch_{number}/{each.partition(':')[0]}" for each in branch.split())


def _in_order_of_making(model: keras.Model, kind: Any) -> list[str]:
    """Returns the names of layers as Keras has counted them: those of Inception v3 have a number, and no other name."""
    names = [layer.name for layer in model.layers if isinstance(layer, kind)]
    return sorted(names, key=lambda name: int((re.search(r"_(\d+)$", name) or [0, 0])[1]))


def slim_alpha(shapes: Mapping[str, tuple[int, ...]], net: SlimNet) -> float | None:
    """Returns the factor on the widths of a MobileNet, as its variables tell it; None where `net` says it itself."""
    if net.alpha is not None:
        return net.alpha
    shape = shapes.get(f"{net.scope}/Conv2d_13_pointwise/weights", ())
    return shape[-1] / 1024 if shape else None

"""Builds the nets of TF-Slim. Where `keras.applications` has the same graph it is that one; ends in logits.

ResNet v1 is not Keras' ResNet50: TF-Slim halves the picture in the last block of a stage, by its 3x3 convolution, where
Keras does in the first, by its 1x1; and its first maximum is padded at the right and below alone. Nor is MobileNet
Keras': where a size is odd, TF-Slim pads a picture on both sides before it halves it, and Keras at the right and below.
Sources: tf_slim 1.1.0, nets/resnet_v1.py, inception_v1.py; tensorflow/models, research/slim/nets/mobilenet_v1.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers
from zoo.converters.slim.families import SlimNet
from zoo.converters.slim.scopes import V1_BLOCKS, V1_POOLED_BEFORE

from zoo.errors import UsageError

Size = Sequence[int | None]
RESNET_BLOCKS = {"resnet_v1_50": (3, 4, 6, 3), "resnet_v1_101": (3, 4, 23, 3), "resnet_v1_152": (3, 8, 36, 3)}
_RESNET_EPSILON = 1e-5
_MOBILENET_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
_LEAST_WIDTH, _LEAST_SIZE = 8, 32


def build_slim(net: SlimNet, classes: int, size: Size | None = None, alpha: float | None = None) -> keras.Model:
    """Returns a net of TF-Slim with random weights, which puts out logits.

    Args:
        net: Which one.
        classes: How many its classifier tells apart.
        size: Height, width and channels of the input; None: as it was trained.
        alpha: The factor on the widths of a MobileNet; None: as `net` has it.

    Raises:
        UsageError: It cannot be built in that size.
    """
    shape = tuple(size or (net.size, net.size, 3))
    if net.name.startswith("vgg") and shape[:2] != (net.size, net.size):
        raise UsageError(
            f"{net.name} of TF-Slim takes pictures of {net.size}x{net.size}: got {'x'.join(map(str, shape))}."
        )
    try:
        return _builder(net, net.alpha if alpha is None else alpha)(shape, classes)
    except ValueError as error:
        raise UsageError(f"{net.name} cannot be built for pictures of {'x'.join(map(str, shape))}: {error}") from error


def _builder(net: SlimNet, alpha: float | None) -> Callable[[Any, int], keras.Model]:
    if net.name in RESNET_BLOCKS:
        return lambda shape, classes: _resnet(net.name, shape, classes)
    if net.name == "inception_v1":
        return _inception_v1
    functions = {
        "vgg_16": keras.applications.VGG16,
        "vgg_19": keras.applications.VGG19,
        "inception_v3": keras.applications.InceptionV3,
    }
    options: dict[str, Any] = {"weights": None, "classifier_activation": None}
    if net.name in functions:
        return lambda shape, classes: functions[net.name](input_shape=shape, classes=classes, **options)
    return lambda shape, classes: _mobilenet(shape, classes, 1.0 if alpha is None else alpha)


def _normalized(x: Any, name: str, **options: Any) -> Any:
    return layers.BatchNormalization(name=name, **options)(x)


def _resnet(name: str, shape: Size, classes: int) -> keras.Model:
    inputs = layers.Input(shape)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = layers.ReLU(name="conv1_relu")(_normalized(x, "conv1_bn", epsilon=_RESNET_EPSILON))
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1_pool")(x)
    blocks = RESNET_BLOCKS[name]
    for number, count in enumerate(blocks):
        for unit in range(1, count + 1):
            halves = unit == count and number + 1 < len(blocks)
            x = _bottleneck(x, 64 << number, 2 if halves else 1, f"conv{number + 2}_block{unit}", projected=unit == 1)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, layers.Dense(classes, name="predictions")(x), name=name)


def _bottleneck(x: Any, width: int, stride: int, name: str, *, projected: bool) -> Any:
    def convolved(x: Any, number: int, filters: int, kernel: int, stride: int = 1) -> Any:
        padding = "same"
        if stride > 1 and kernel > 1:
            x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_{number}_pad")(x)
            padding = "valid"
        conv = layers.Conv2D(
            filters, kernel, strides=stride, padding=padding, use_bias=False, name=f"{name}_{number}_conv"
        )
        return _normalized(conv(x), f"{name}_{number}_bn", epsilon=_RESNET_EPSILON)

    if projected:
        shortcut = convolved(x, 0, 4 * width, 1, stride)
    else:
        shortcut = x if stride == 1 else layers.MaxPooling2D(1, strides=stride, name=f"{name}_0_pool")(x)
    y = layers.ReLU(name=f"{name}_1_relu")(convolved(x, 1, width, 1))
    y = layers.ReLU(name=f"{name}_2_relu")(convolved(y, 2, width, 3, stride))
    y = layers.Add(name=f"{name}_add")([shortcut, convolved(y, 3, 4 * width, 1)])
    return layers.ReLU(name=f"{name}_out")(y)


def _mobilenet(shape: Size, classes: int, alpha: float) -> keras.Model:
    def width(full: int) -> int:
        return max(int(full * alpha), _LEAST_WIDTH)

    if small := [each for each in shape[:2] if each is not None and each < _LEAST_SIZE]:
        raise ValueError(f"its input should be at least {_LEAST_SIZE}x{_LEAST_SIZE}, and {small[0]} is less")
    inputs = layers.Input(shape)
    conv = layers.Conv2D(width(32), 3, strides=2, padding="same", use_bias=False, name="conv1")
    x = _relu6(conv(inputs), "conv1")
    for number, (full, stride) in enumerate(_MOBILENET_BLOCKS, 1):
        deep, point = f"conv_dw_{number}", f"conv_pw_{number}"
        conv = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=deep)
        x = _relu6(conv(x), deep)
        x = _relu6(layers.Conv2D(width(full), 1, use_bias=False, name=point)(x), point)
    x = layers.Dropout(1e-3, name="dropout")(layers.GlobalAveragePooling2D(keepdims=True, name="avg_pool")(x))
    x = layers.Reshape((classes,), name="predictions")(layers.Conv2D(classes, 1, name="conv_preds")(x))
    return keras.Model(inputs, x, name="mobilenet_v1")


def _relu6(x: Any, name: str) -> Any:
    return layers.ReLU(6.0, name=f"{name}_relu")(_normalized(x, f"{name}_bn"))


def _inception_v1(shape: Size, classes: int) -> keras.Model:
    inputs = layers.Input(shape)
    x = _inception_conv(inputs, "Conv2d_1a_7x7", 64, stride=2)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="MaxPool_2a_3x3")(x)
    x = _inception_conv(x, "Conv2d_2b_1x1", 64)
    x = _inception_conv(x, "Conv2d_2c_3x3", 192)
    for block, branches in V1_BLOCKS.items():
        if pool := V1_POOLED_BEFORE.get(block):
            stage = block.removeprefix("Mixed_")[0]
            x = layers.MaxPooling2D(pool, strides=2, padding="same", name=f"MaxPool_{stage}a_{pool}x{pool}")(x)
        x = layers.Concatenate(name=block)([_branch(x, block, number, each) for number, each in enumerate(branches)])
    x = layers.GlobalAveragePooling2D(name="AvgPool_0a_7x7")(x)
    return keras.Model(inputs, layers.Dense(classes, name="Logits")(x), name="inception_v1")


def _branch(x: Any, block: str, number: int, convolutions: str) -> Any:
    name = f"{block}_Branch_{number}"
    if number == 3:
        x = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_MaxPool_0a_3x3")(x)
    for each in convolutions.split():
        scope, _, width = each.partition(":")
        x = _inception_conv(x, f"{name}_{scope}", int(width))
    return x


def _inception_conv(x: Any, name: str, width: int, *, stride: int = 1) -> Any:
    kernel = int(name[-1])
    conv = layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=False, name=name)
    return layers.ReLU(name=f"{name}_Relu")(_normalized(conv(x), f"{name}_BatchNorm", scale=False))

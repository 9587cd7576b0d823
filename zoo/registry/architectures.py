"""The architectures that Keras itself can build: their functions in `keras.applications`, and how many units each has.

A table only; `zoo.loading` builds. An entry of any source has one of these names as `arch` only where the units of that
net, and the shapes that they put out, are those of its own.
"""

from __future__ import annotations

from typing import NamedTuple


class Architecture(NamedTuple):
    """A net of `keras.applications`.

    Attributes:
        function: Name of the function in `keras.applications` that builds it.
        units: How many units `zoo.split_units` counts in it, the classifier included.
    """

    function: str
    units: int


# Counted once with zoo.split_units(zoo.loading.build_architecture(name)). The cells of NASNet each read the two before
# them, so that no tensor between stem and classifier is passed by every path: 3.
ARCHITECTURES = {
    "xception": Architecture("Xception", 17),
    "vgg16": Architecture("VGG16", 16),
    "vgg19": Architecture("VGG19", 19),
    "resnet50": Architecture("ResNet50", 18),
    "resnet101": Architecture("ResNet101", 35),
    "resnet152": Architecture("ResNet152", 52),
    "resnet50v2": Architecture("ResNet50V2", 18),
    "resnet101v2": Architecture("ResNet101V2", 35),
    "resnet152v2": Architecture("ResNet152V2", 52),
    "inception_v3": Architecture("InceptionV3", 17),
    "inception_resnet_v2": Architecture("InceptionResNetV2", 50),
    "mobilenet": Architecture("MobileNet", 28),
    "mobilenet_v2": Architecture("MobileNetV2", 33),
    "mobilenet_v3_small": Architecture("MobileNetV3Small", 28),
    "mobilenet_v3_large": Architecture("MobileNetV3Large", 32),
    "densenet121": Architecture("DenseNet121", 63),
    "densenet169": Architecture("DenseNet169", 87),
    "densenet201": Architecture("DenseNet201", 103),
    "nasnet_mobile": Architecture("NASNetMobile", 3),
    "nasnet_large": Architecture("NASNetLarge", 3),
    "efficientnetb0": Architecture("EfficientNetB0", 39),
    "efficientnetb1": Architecture("EfficientNetB1", 46),
    "efficientnetb2": Architecture("EfficientNetB2", 46),
    "efficientnetb3": Architecture("EfficientNetB3", 49),
    "efficientnetb4": Architecture("EfficientNetB4", 55),
    "efficientnetb5": Architecture("EfficientNetB5", 62),
    "efficientnetb6": Architecture("EfficientNetB6", 68),
    "efficientnetb7": Architecture("EfficientNetB7", 78),
    "efficientnetv2b0": Architecture("EfficientNetV2B0", 35),
    "efficientnetv2b1": Architecture("EfficientNetV2B1", 41),
    "efficientnetv2b2": Architecture("EfficientNetV2B2", 42),
    "efficientnetv2b3": Architecture("EfficientNetV2B3", 46),
    "efficientnetv2s": Architecture("EfficientNetV2S", 54),
    "efficientnetv2m": Architecture("EfficientNetV2M", 74),
    "efficientnetv2l": Architecture("EfficientNetV2L", 96),
    "convnext_tiny": Architecture("ConvNeXtTiny", 23),
    "convnext_small": Architecture("ConvNeXtSmall", 41),
    "convnext_base": Architecture("ConvNeXtBase", 41),
    "convnext_large": Architecture("ConvNeXtLarge", 41),
    "convnext_xlarge": Architecture("ConvNeXtXLarge", 41),
}

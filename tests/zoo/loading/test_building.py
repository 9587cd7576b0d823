from __future__ import annotations

import resource
from pathlib import Path

import keras
import pytest

import zoo
from zoo.errors import UsageError
from zoo.loading import build_architecture
from zoo.registry.architectures import ARCHITECTURES

# One of each family; the units of VGG16, ResNet50, MobileNetV2, DenseNet121, Xception, EfficientNetB0 and ConvNeXtTiny
# are the definition's own examples.
QUICK = [
    "vgg19", "resnet50v2", "mobilenet", "mobilenet_v3_small", "efficientnetv2b0",
]  # fmt: skip
MORE = [
    "mobilenet_v3_large",
    "resnet101",
    "inception_v3",
    "densenet169",
    "nasnet_mobile",
    "efficientnetb1",
    "convnext_small",
]


@pytest.mark.parametrize("arch", [*QUICK, *(pytest.param(arch, marks=pytest.mark.slow) for arch in MORE)])
def test_units_in_the_table_are_those_of_the_net(arch: str) -> None:
    units = zoo.split_units(build_architecture(arch))

    assert len(units) == ARCHITECTURES[arch].units
    assert sum(unit.params for unit in units) == zoo.find_entry(arch).params


def test_keras_has_every_architecture_of_the_table_and_no_other() -> None:
    functions = {name for name in dir(keras.applications) if name[0].isupper()}

    assert {architecture.function for architecture in ARCHITECTURES.values()} == functions


def test_a_bare_architecture_takes_no_memory_for_weights() -> None:
    """350 million weights of 4 bytes are 1.4 GB; Linux counts the peak in kB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    model = build_architecture("convnext_xlarge")

    assert model.count_params() == 350_196_968
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_a_bare_architecture_leaves_nothing_behind() -> None:
    first = [layer.name for layer in build_architecture("inception_v3").layers]
    again = [layer.name for layer in build_architecture("inception_v3").layers]
    mine = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])

    assert first == again  # names that Keras counts begin anew
    assert mine(keras.ops.ones((1, 3))).shape == (1, 2)  # weights made afterwards have values


def test_an_architecture_of_another_input_and_another_number_of_classes() -> None:
    model = build_architecture("mobilenet", (192, 192, 3), 1001)

    assert (model.input_shape, model.output_shape) == ((None, 192, 192, 3), (None, 1001))
    assert build_architecture("vgg16", (None, None, 3)).input_shape == (None, 224, 224, 3)  # Keras' own


def test_an_unknown_architecture_offers_the_near_ones() -> None:
    with pytest.raises(UsageError, match=r"'VGG-16'. Did you mean vgg16\?"):
        build_architecture("VGG-16")


def test_the_embedded_model_is_loaded() -> None:
    assert zoo.load_model("letters-cnn").input_shape == (None, 28, 28, 1)


def test_what_cannot_be_loaded_is_refused_before_anything_is_pulled(home: Path) -> None:
    """The store would make its folders first."""
    with pytest.raises(UsageError, match="zoo pull slim/inception_v4"):
        zoo.load_model("slim/inception_v4")

    assert not home.exists()


def test_a_transfer_from_what_cannot_be_loaded_is_refused_before_anything_is_pulled(home: Path) -> None:
    with pytest.raises(UsageError, match="zoo pull slim/inception_v4"):
        zoo.transfer("slim/inception_v4", "digits", train_per_class=2)

    assert not home.exists()
    assert not Path("runs").exists()

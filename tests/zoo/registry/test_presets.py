"""How pictures become numbers, as a user says it: by name, by another model's name, or in numbers; never guessed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from zoo.errors import UsageError
from zoo.registry import InputSpec, find_entry
from zoo.registry.presets import PRESETS, chosen_input

SIZE = (224, 224, 3)
# What `preprocess_input` of the families does, as the registry has it by other ways (keras.applications' own modes).
FAMILIES = {"none": "efficientnetb0", "tf": "mobilenet_v2", "torch": "densenet121", "caffe": "resnet50"}


@pytest.mark.parametrize("preset", FAMILIES)
def test_a_preset_is_what_a_family_of_models_wants(preset: str) -> None:
    found, wanted = chosen_input(SIZE, preset), find_entry(FAMILIES[preset]).input

    assert wanted is not None
    assert (found.color, found.mean, found.std) == (wanted.color, wanted.mean, wanted.std)
    assert found.scale == pytest.approx(wanted.scale, rel=1e-15)


def test_every_preset_but_that_of_one_number_is_compared_with_a_family() -> None:
    assert set(PRESETS) - set(FAMILIES) == {"unit"}
    assert chosen_input(SIZE, "unit") == InputSpec(SIZE, scale=1 / 255)


def test_another_models_numbers_are_taken_and_its_crop_only_at_its_own_size() -> None:
    """It is cut out of pictures of 256 pixels, which says nothing of those for another size."""
    same, smaller = chosen_input(SIZE, "slim/vgg_16"), chosen_input((100, 100, 3), "slim/vgg_16")

    assert same == find_entry("slim/vgg_16").input
    assert smaller == dataclasses.replace(same, size=(100, 100, 3), fit=None, resize_to=None)
    assert same.resize_to == 256


def test_pictures_of_one_channel_are_gray() -> None:
    assert chosen_input((28, 28, 1), "unit") == InputSpec((28, 28, 1), color="gray", scale=1 / 255)
    assert chosen_input((28, 28, 1), scale=1.0, mean=0.5).mean == (0.5,)
    assert chosen_input((28, 28, 1), "letters-cnn").scale == 1 / 255


def test_nothing_said_is_not_known() -> None:
    assert chosen_input(SIZE) == InputSpec(SIZE, color=None, scale=None)
    assert chosen_input((28, 28, 1)) == InputSpec((28, 28, 1), color="gray", scale=None)


@pytest.mark.parametrize(
    ("size", "said", "words"),
    [
        (SIZE, {"preprocess": "unit", "scale": 1.0}, "preprocess or numbers"),
        (SIZE, {"scale": 1.0}, "give color too"),
        (SIZE, {"color": "RGB"}, "give scale too"),
        (SIZE, {"mean": 1.0}, "give color and scale too"),
        (SIZE, {"color": "gray", "scale": 1.0}, "3 channels"),
        ((28, 28, 1), {"color": "RGB", "scale": 1.0}, "1 channel;"),
        (SIZE, {"preprocess": "letters-cnn"}, "3 channels"),
        ((28, 28, 1), {"preprocess": "torch"}, "torch is for pictures of 3 channels.*takes 1.*none, unit, tf,"),
        ((28, 28, 1), {"preprocess": "caffe"}, "caffe is for pictures of 3 channels"),
        ((28, 28, 1), {"color": "gray", "scale": 1.0, "mean": (1.0, 2.0)}, "1 values of mean"),
        (SIZE, {"color": "RGB"}, "color alone does not say"),
        (SIZE, {"scale": 1.0, "mean": 1.0}, "scale, mean alone do not say"),
        (SIZE, {"color": "RGB", "scale": 1.0, "std": (1.0, 0.0, 1.0)}, "other than 0"),
        (SIZE, {"color": "RGB", "scale": 0.0}, "other than 0"),
        (SIZE, {"preprocess": "tfhub/google/nnlm-en-dim50/2"}, "is not known in numbers"),
    ],
)
def test_what_is_too_little_too_much_or_contradicts_itself(size: Any, said: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        chosen_input(size, **said)


@pytest.mark.parametrize(
    ("name", "words"),
    [("vgg61", r"none, unit, tf, torch, caffe.*Did you mean .*vgg16"), ("unti", r"got 'unti'\. Did you mean unit\?$")],
)
def test_a_name_that_nothing_has_offers_what_there_is(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        chosen_input(SIZE, name)

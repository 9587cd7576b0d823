"""What --reuse and --freeze may say."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from zoo.errors import CutError
from zoo.surgery import Depth, Units, select_units, split_units


@pytest.fixture(scope="module")
def units() -> Units:
    """hidden1..hidden4 and outputs: five units, of which at most four are kept."""
    stack = [layers.Dense(4, name=name) for name in ("hidden1", "hidden2", "hidden3", "hidden4", "outputs")]
    return split_units(keras.Sequential([keras.Input((4,)), *stack], name="net"))


@pytest.mark.parametrize(
    ("reuse", "freeze", "expected"),
    [
        ("all", None, (4, 4)),
        (3, 2, (3, 2)),
        ("3", "2", (3, 2)),
        (0, None, (0, 0)),
        (4, 0, (4, 0)),
        (3, "all", (3, 3)),
        ("hidden[123]", None, (3, 3)),
        ("hidden3", "hidden1", (3, 1)),
        ("hidden.*", "hidden[12]", (4, 2)),
    ],
)
def test_selections(units: Units, reuse: Depth, freeze: Depth | None, expected: tuple[int, int]) -> None:
    assert select_units(units, reuse, freeze) == expected


@pytest.mark.parametrize(
    ("reuse", "freeze", "words"),
    [
        (5, None, ["0 to 4", "got 5", "'outputs'", "--reuse 4"]),
        (9, None, ["0 to 4", "got 9", "--reuse 4"]),
        (-1, None, ["0 to 4", "got -1"]),
        (3, 4, ["0 to 3", "--freeze 4", "--reuse 4 --freeze 4"]),
        (3, -2, ["0 to 3", "got -2"]),
        ("hidden[13]", None, ["units 1, 3", "unit 2 (hidden2)", "--reuse 3"]),
        ("hiden1", None, ["no layer", "Did you mean hidden1"]),
        ("hidden[", None, ["no regular expression"]),
        ("outputs", None, ["0 to 4", "got outputs"]),
        (True, None, ["a number or a layer's name"]),
    ],
)
def test_refusals_name_the_range_and_the_nearest_cut(
    units: Units, reuse: Depth, freeze: Depth | None, words: list[str]
) -> None:
    with pytest.raises(CutError) as error:
        select_units(units, reuse, freeze)
    assert error.value.exit_code == 2
    assert [word for word in words if word not in str(error.value)] == []


def test_the_nearest_legal_cut_is_named_where_a_mask_crosses() -> None:
    words = keras.Input((5,), dtype="int32")
    x = layers.LSTM(4, name="lstm")(layers.Embedding(9, 3, mask_zero=True, name="embed")(words))
    masked = split_units(keras.Model(words, layers.Dense(2)(x)))
    with pytest.raises(CutError, match="mask crosses this cut.*--reuse 2"):
        select_units(masked, 1)
    with pytest.raises(CutError, match="--freeze 2"):
        select_units(masked, 2, 1)
    assert select_units(masked, 2) == (2, 2)

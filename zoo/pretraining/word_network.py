"""A small net of texts: what a word is, what stands side by side, and the mean over all words of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from zoo.errors import UsageError
from zoo.pretraining.networks import initial
from zoo.pretraining.words import Words

_WINDOW = 3  # words


class WordNetwork:
    """An embedding of words; convolutions over neighbours; a mean over the words; dense layers; and one for the task.

    Padding takes no part: what is put out for a text is the same however much of it there is. Nor do unknown words
    where the texts of training have none: their row of the embedding would be as it began, which is at random.

    Args:
        inputs: The texts, as numbers of words.
        units: Widths: of a word, and then of the dense layers on the mean.
        conv: Filters of convolutions over three words each.
        activation: Of all layers above the embedding.
        outputs: Width of the layer on top, which has no activation.
        name: Of what is on top.
        last: What follows the layer on top in the model alone, and not in training.
        seed: Of the initial weights.

    Attributes:
        model: The net for single texts; what is on top of it is a model in it.

    Raises:
        UsageError: There is no width of a word.
    """

    def __init__(
        self,
        inputs: Words,
        units: Sequence[int],
        conv: Sequence[int],
        activation: str,
        *,
        outputs: int,
        name: str,
        last: Sequence[keras.layers.Layer] = (),
        seed: int = 0,
    ) -> None:
        if not units:
            raise UsageError(
                "Texts want units, of which the first is the width of a word: --units 50 (Python: units); got none."
            )
        self._outputs, self._least = outputs, inputs.least
        uniform = keras.initializers.RandomUniform(seed=seed)  # as Keras begins embeddings
        self._embedding = keras.layers.Embedding(len(inputs.counts), units[0], uniform, name="layer1")
        self._conv = [
            keras.layers.Conv1D(width, _WINDOW, padding="same", **_named(number, activation, seed))
            for number, width in enumerate(conv, 2)
        ]
        self._mean = keras.layers.GlobalAveragePooling1D(name=f"layer{1 + len(conv)}_mean")
        self._dense = [
            keras.layers.Dense(width, **_named(number, activation, seed))
            for number, width in enumerate(units[1:], 2 + len(conv))
        ]
        self._top = keras.layers.Dense(outputs, kernel_initializer=initial(seed, name), name=f"{name}_outputs")
        source = keras.Input((), dtype="string", name="examples")
        code = self._below(inputs.vectorization(source))
        whole = keras.Sequential([keras.Input(code.shape[1:], name="codes"), self._top, *last], name=name)(code)
        self.model = keras.Model(source, whole, name="pretrained")
        _renumber(self.model)

    def of_each(self, versions: Any) -> Any:
        """Returns what is put out for each version of each text: symbolic, [batch, versions, outputs].

        Args:
            versions: Symbolic, [batch, versions, words].
        """
        x = self._top(self._below(keras.ops.reshape(versions, (-1, versions.shape[2]))))
        return keras.ops.reshape(x, (-1, versions.shape[1], self._outputs))

    def _below(self, numbers: Any) -> Any:
        """Returns what goes into the layer for the task, [batch, width], of words [batch, words]."""
        words = keras.ops.cast(keras.ops.greater_equal(numbers, self._least)[..., None], "float32")
        x = keras.layers.Multiply(name="layer1_words")([self._embedding(numbers), words * _places_a_word(words)])
        if self._conv:
            x = self._convolved(x)
        x = self._mean(x)
        for layer in self._dense:
            x = layer(x)
        return x

    def _convolved(self, x: Any) -> Any:
        """Returns words with their neighbours, [batch, places, filters], of words [batch, places, width].

        It takes nothing but `x`, so that a net can be cut below it: padding alone is 0 all over.
        """
        words = keras.ops.cast(keras.ops.any(keras.ops.not_equal(x, 0), axis=-1, keepdims=True), "float32")
        places = _places_a_word(words)
        x = x / places
        for layer in self._conv:
            x = layer(x) * words
        return keras.layers.Multiply(name=f"layer{1 + len(self._conv)}_words")([x, places])


def _named(number: int, activation: str, seed: int) -> dict[str, Any]:
    """Returns what all layers above the embedding are given."""
    name = f"layer{number}"
    return {"activation": activation, "kernel_initializer": initial(seed, name), "name": name}


def _renumber(model: keras.Model) -> None:
    """Names operations in their order: Keras counts them through a process, and the same net is to be the same."""
    operations = [each for each in model.operations if not isinstance(each, keras.layers.Layer)]
    for number, operation in enumerate(operations, 1):
        operation.name = f"operation{number}"


def _places_a_word(words: Any) -> Any:
    """Returns how many places there are for each word of a text, [batch, 1, 1]; of one without words, all.

    Words are multiplied by that: then a mean over all places, as a new head takes it, is the mean over the words.

    Args:
        words: 1 for a place that has a word, else 0: [batch, places, 1].
    """
    return words.shape[1] / keras.ops.maximum(keras.ops.sum(words, axis=1, keepdims=True), 1.0)

"""Versions of an example whose labels come for free: as it is, and corrupted so that the whole no longer fits.

Sources: rotation: Gidaris, Singh and Komodakis, "Unsupervised Representation Learning by Predicting Image Rotations",
ICLR 2018; shuffled patches: Noroozi and Favaro, "Unsupervised Learning of Visual Representations by Solving Jigsaw
Puzzles", ECCV 2016 (here the net need not say in which order they are); exchanged values: Shi and Horvath,
"Unsupervised Learning with Random Forest Predictors", Journal of Computational and Graphical Statistics 15, 2006, and
Bahri, Jiang, Tay and Metzler, "SCARF: Self-Supervised Contrastive Learning using Random Feature Corruption", ICLR 2022;
replaced words: Collobert and Weston, "A Unified Architecture for Natural Language Processing", ICML 2008, and with
Bottou et al., "Natural Language Processing (Almost) from Scratch", JMLR 12, 2011 (there it is the middle word of a
window, and all words are as likely; here it is words of a whole text, each as likely as it occurs).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.errors import UsageError


class Versions(keras.layers.Layer):  # type: ignore[misc]
    """Puts out versions of each example: [n, count, ...], the first of them as it is.

    What is random is drawn anew at every step of training, and is always the same in inference: so a validation loss
    is of the same task after every epoch.

    Args:
        seed: Of what is random.

    Attributes:
        count: How many versions there are.
    """

    count = 2

    def __init__(self, seed: int = 0) -> None:
        super().__init__(name="versions")
        self._seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        """Returns the versions of examples `x` [n, ...]."""
        return tf.stack([x, *self.others(x, training=training)], axis=1)

    def others(self, x: Any, *, training: bool) -> list[Any]:
        """Returns each further version of examples `x` [n, ...]."""
        raise NotImplementedError

    def uniform(self, shape: Any, number: int, *, training: bool, dtype: str = "float32") -> Any:
        """Returns random numbers from 0 to below 1; those of another `number` are others."""
        return keras.random.uniform(shape, dtype=dtype, seed=self._generator if training else self._seed + number)


class Rotated(Versions):
    """Pictures, and the same turned to the left by 90, 180 and 270 degrees.

    >>> Rotated()(tf.reshape(tf.range(4.0), (1, 2, 2, 1)))[0, 1, :, :, 0].numpy().tolist()
    [[1.0, 3.0], [0.0, 2.0]]
    """

    count = 4

    def others(self, x: Any, *, training: bool) -> list[Any]:
        """Returns pictures `x` [n, side, side, channels] in the three other positions."""
        transposed = tf.transpose(x, (0, 2, 1, 3))
        return [tf.reverse(transposed, (1,)), tf.reverse(x, (1, 2)), tf.reverse(transposed, (2,))]


class Shuffled(Versions):
    """Pictures, and the same with their patches in another order; what lies outside of whole patches stays.

    Args:
        patches: So many in a row, and in a column.
        seed: As of `Versions`.
    """

    def __init__(self, patches: int = 2, seed: int = 0) -> None:
        super().__init__(seed)
        self._side = patches

    def others(self, x: Any, *, training: bool) -> list[Any]:
        """Returns pictures `x` [n, height, width, channels], shuffled: some patch always moves."""
        side, channels = self._side, x.shape[3]
        height, width = (x.shape[1] // side) * side, (x.shape[2] // side) * side
        tiled = (-1, side, height // side, side, width // side, channels)
        tiles = tf.transpose(tf.reshape(x[:, :height, :width], tiled), (0, 1, 3, 2, 4, 5))
        tiles = tf.reshape(tiles, (-1, side**2, *tiles.shape[3:]))
        tiles = tf.gather(tiles, self._order(tf.shape(x)[0], training=training), batch_dims=1)
        tiles = tf.transpose(tf.reshape(tiles, (-1, side, side, *tiles.shape[2:])), (0, 1, 3, 2, 4, 5))
        inner = tf.reshape(tiles, (-1, height, width, channels))
        upper = tf.concat([inner, x[:, :height, width:]], axis=2)
        return [tf.concat([upper, x[:, height:]], axis=1)]

    def _order(self, count: Any, *, training: bool) -> Any:
        patches = self._side**2
        order = tf.argsort(self.uniform((count, patches), 0, training=training), axis=1)
        unchanged = tf.reduce_all(order == tf.range(patches), axis=1, keepdims=True)
        return tf.where(unchanged, tf.roll(tf.range(patches), 1, axis=0), order)


class Exchanged(Versions):
    """Rows of numbers, and the same with some of them taken from the same columns of other examples of the batch.

    What is put there is as frequent in its column as it is among the examples, but independent of the other columns.

    Args:
        share: Of the columns (above 0 to 1) in which each row is changed; one at least is.
        seed: As of `Versions`.
        spare: Rows [m, columns] that a batch of a single one, as what is left of an epoch may be, takes values from;
            None: it stays as it is.
    """

    def __init__(self, share: float = 0.3, seed: int = 0, spare: NDArray[np.float32] | None = None) -> None:
        super().__init__(seed)
        self._share, self._spare = share, None if spare is None else np.asarray(spare, np.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns what it is made of, as plain data."""
        spare = None if self._spare is None else self._spare.tolist()
        return {"share": self._share, "seed": self._seed, "spare": spare}

    def others(self, x: Any, *, training: bool) -> list[Any]:
        """Returns rows `x` [n, columns] with values exchanged."""
        columns, shape = x.shape[1], tf.shape(x)
        source = x
        if self._spare is not None:
            wanted = tf.where(shape[0] > 1, 0, len(self._spare))
            source = tf.concat([x, tf.cast(self._spare, x.dtype)[:wanted]], axis=0)
        count = tf.shape(source)[0]
        place = tf.argsort(tf.argsort(self.uniform(shape, 0, training=training), axis=1), axis=1)
        chosen = place < max(1, round(self._share * columns))
        further = self.uniform(shape, 1, training=training) * tf.cast(count - 1, tf.float32)
        rows = (tf.range(shape[0])[:, None] + 1 + tf.cast(further, tf.int32)) % count
        others = tf.gather(tf.reshape(source, (-1,)), rows * columns + tf.range(columns))
        return [tf.where(chosen, others, x)]


class Replaced(Versions):
    """Texts as numbers of words, and the same with some words replaced by others.

    What is put there is as frequent as it is in texts, but independent of the other words. A 0 is no word and stays.

    Args:
        counts: How often each number occurs, that of 0 not counted: two of them at least.
        share: Of the words (above 0 to 1) of each text that are replaced; one at least is, where there is one.
        seed: As of `Versions`.

    >>> Replaced((0, 0, 5, 5), 1.0)(tf.constant([[2, 3, 0]]))[0].numpy().tolist()
    [[2, 3, 0], [3, 2, 0]]
    """

    def __init__(self, counts: tuple[int, ...], share: float = 0.3, seed: int = 0) -> None:
        super().__init__(seed)
        self._share = share
        self._counts = np.array([0, *counts[1:]], np.int64)

    def others(self, x: Any, *, training: bool) -> list[Any]:
        """Returns texts `x` [n, words] (integers) with words replaced."""
        words = x > 0
        most = np.array([0, *(max(1, round(self._share * count)) for count in range(1, x.shape[1] + 1))], np.int32)
        wanted = tf.gather(most, tf.reduce_sum(tf.cast(words, tf.int32), axis=1, keepdims=True))
        places = tf.where(words, self.uniform(tf.shape(x), 0, training=training), 1.0)  # what is no word comes last
        chosen = tf.argsort(tf.argsort(places, axis=1, stable=True), axis=1) < wanted
        return [tf.where(chosen, tf.cast(self._drawn(x, training=training), x.dtype), x)]

    def _drawn(self, x: Any, *, training: bool) -> Any:
        """Returns a word for each place, by how often words occur, and another than the one that is there."""
        ends = np.cumsum(self._counts)
        count, end = tf.gather(self._counts, x), tf.gather(ends, x)
        # All occurrences in a row, without those of the word that is there: one of the others, whole numbers all.
        left = tf.cast(ends[-1] - count, tf.float64)
        drawn = tf.cast(self.uniform(tf.shape(x), 1, training=training, dtype="float64") * left, tf.int64)
        drawn += tf.where(drawn >= end - count, count, 0)
        return tf.reshape(tf.searchsorted(ends, tf.reshape(drawn, (-1,)), side="right"), tf.shape(x))


def refuse_rotation(shape: tuple[int, ...]) -> None:
    """Raises `UsageError` where examples of a shape cannot be turned."""
    _refuse_no_pictures("Rotations", shape)
    if shape[0] != shape[1]:
        raise UsageError(
            f"Rotations want square pictures; these are {shape[0]}x{shape[1]}. Give them one square size: --size 64 "
            "(Python: size=(64, 64)); or shuffle patches."
        )


def refuse_patches(shape: tuple[int, ...], patches: int) -> None:
    """Raises `UsageError` where examples of a shape have not so many patches in a row and in a column."""
    _refuse_no_pictures("Shuffled patches", shape)
    if patches > min(shape[:2]):
        raise UsageError(
            f"Expected at most {min(shape[:2])} patches in a row, of pictures of {shape[0]}x{shape[1]}; got {patches}."
        )


def refuse_exchange(shape: tuple[int, ...]) -> None:
    """Raises `UsageError` where examples of a shape have no columns to exchange values of."""
    if len(shape) != 1:
        raise UsageError(
            f"Exchanged values want rows of numbers; the examples have shape {list(shape)}. Rotate pictures, or "
            "shuffle their patches."
        )
    if shape[0] < 2:
        raise UsageError("Exchanged values want rows of two columns or more, which could fit each other; these have 1.")


def _refuse_no_pictures(what: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        other = " Exchange values instead." if len(shape) == 1 else ""
        raise UsageError(f"{what} want pictures; the examples have shape {list(shape)}.{other}")

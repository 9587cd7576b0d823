"""SavedModels that no layers can be made of: on texts, in the style of TensorFlow Hub; and tables of texts for them."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

BUCKETS, WIDTH = 256, 16
GOOD = ("good", "great", "lovely", "superb", "brilliant", "moving")
BAD = ("bad", "awful", "boring", "dull", "terrible", "flat")
OTHERS = ("the", "film", "was", "a", "story", "of", "two", "people", "in", "town", "with", "music", "and", "light")


class TextModule(tf.Module):  # type: ignore[misc]
    """A text as the mean of vectors of its words, which a hash finds."""

    def __init__(self, seed: int = 0, width: int = WIDTH) -> None:
        super().__init__()
        vectors = np.random.default_rng(seed).normal(size=(BUCKETS, width))
        self.vectors = tf.Variable(vectors, dtype=tf.float32, name="vectors")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])  # type: ignore[untyped-decorator]
    def __call__(self, texts: Any) -> Any:
        words = tf.strings.split(tf.strings.lower(texts))
        found = words.with_values(tf.gather(self.vectors, tf.strings.to_hash_bucket_fast(words.values, BUCKETS)))
        counts = tf.cast(words.row_lengths(), tf.float32)
        return tf.math.divide_no_nan(tf.reduce_sum(found, axis=1), counts[:, tf.newaxis])


def text_module(folder: Path, seed: int = 0, width: int = WIDTH) -> Path:
    """Saves the module into a folder, as those of TensorFlow Hub are: it can be called, and has no signature."""
    tf.saved_model.save(TextModule(seed, width), str(folder))
    return folder


def saved(folder: Path, *functions: Any, signatures: dict[str, Any] | None = None, **attributes: Any) -> Path:
    """Saves a module that calls the only function, or has signatures, and what else it needs, into a folder."""

    class Module(tf.Module):  # type: ignore[misc]
        pass

    module = Module()
    for name, value in attributes.items():
        setattr(module, name, value)
    for function in functions:
        module.__call__ = function
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def function_of(*shape: int | None, dtype: Any = tf.string, more: Sequence[Any] = ()) -> Callable[[Any], Any]:
    """Returns a decorator: a function of one tensor of a shape, batch included, traced for it and for flags."""

    def decorate(function: Any) -> Any:
        traced = tf.function(function)
        for flags in more or ((),):
            traced.get_concrete_function(tf.TensorSpec(shape, dtype, name="x"), *flags)
        return traced

    return decorate


def old_text_module(folder: Path) -> Path:
    """Saves a module with code of TensorFlow 1, with a signature."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        texts = v1.placeholder(tf.string, [None], name="texts")
        vectors = v1.get_variable("vectors", initializer=np.arange(24, dtype=np.float32).reshape(8, 3))
        found = tf.gather(vectors, tf.strings.to_hash_bucket_fast(texts, 8))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"texts": texts}, {"vector": found})
    return folder


def review(rng: np.random.Generator, words: Sequence[str]) -> str:
    """Returns a text of a few words of some kind among others."""
    some = [*rng.choice(words, rng.integers(1, 4)), *rng.choice(OTHERS, rng.integers(2, 7))]
    rng.shuffle(some)
    return " ".join(some)


def reviews(path: Path, count: int = 120, seed: int = 0, more: Sequence[Sequence[str]] = ()) -> Path:
    """Writes a table of texts of two classes, which a few words tell apart, and further rows."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(count):
            name, words = (("pos", GOOD), ("neg", BAD))[number % 2]
            writer.writerow([review(rng, words), name])
        writer.writerows(more)
    return path


def rezipped(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Writes an archive anew after a change of its members."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target

"""Judges the one layer with a vocabulary that may pass: a TextVectorization that has its words in the config.

Keras lets such a layer name a file or an address for its words, functions that take texts apart, and a codec of Python.
Nothing of that is let through: what is left looks words up in a list that stands in the file, and does nothing else.
Read last: Keras 3.15.1.
"""

from __future__ import annotations

from typing import Any

from zoo.store.unpacking import shown

TEXT_VECTORIZATION = "TextVectorization"

# What a key may say, apart from nothing at all. The first of each is what Keras takes where nobody says it.
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "standardize": ("lower_and_strip_punctuation", "lower", "strip_punctuation"),
    "split": ("whitespace", "character"),
    "ngrams": (),  # Keras writes all widths up to a number out, however large it is
    "output_mode": ("int",),
    "pad_to_max_tokens": (False,),
    "sparse": (False,),
    "ragged": (False,),
    "idf_weights": (),
    "encoding": ("utf-8",),  # Python imports the module of a codec
}
_NUMBERS = frozenset({"max_tokens", "output_sequence_length", "vocabulary_size"})
_JUDGED_ELSEWHERE = frozenset({"name", "trainable", "dtype"})


def has_words_in_config(record: dict[str, Any]) -> bool:
    """Returns whether a record is of a TextVectorization of Keras with a list of words, and no file or address."""
    config = record.get("config")
    words = config.get("vocabulary") if isinstance(config, dict) else None
    return (
        record.get("class_name") == TEXT_VECTORIZATION
        and record.get("module") == "keras.layers"
        and record.get("registered_name") in (None, "", TEXT_VECTORIZATION)
        and isinstance(words, list)
        and bool(words)
        and all(isinstance(word, str) for word in words)
    )


def vocabulary_fault(config: dict[str, Any]) -> str:
    """Returns why the config of a TextVectorization with words in it is refused all the same; "" where it passes.

    >>> vocabulary_fault({"vocabulary": ["zoo"], "encoding": "zip"})
    "its encoding is 'zip'; of such layers zoo takes utf-8 alone"
    """
    for key, value in config.items():
        if key == "vocabulary" or key in _JUDGED_ELSEWHERE or value is None:
            continue
        if key in _NUMBERS:
            if type(value) is not int or value < 1:
                return f"its {key} is no number above 0"
        elif key not in _ALLOWED:
            return f"it has {shown(key)} in its config, which Keras does not write there"
        elif not any(type(value) is type(each) and value == each for each in _ALLOWED[key]):
            taken = " or ".join(str(each) for each in _ALLOWED[key]) or "nothing"
            return f"its {key} is {shown(str(value))}; of such layers zoo takes {taken} alone"
    return ""

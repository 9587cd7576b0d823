"""A TextVectorization passes with its words in the config, and with nothing that reads, calls or imports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hostile_keras import config_of, rewritten

from zoo.errors import UnsafeFileError
from zoo.loading.whole import load_archive
from zoo.store.guards.keras_config import checked_config

FUNCTION = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
NUMPY = {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "float32"}}
LAYER: dict[str, Any] = {
    "module": "keras.layers",
    "class_name": "TextVectorization",
    "registered_name": None,
    "config": {"name": "words", "vocabulary": ["a", "b"], "standardize": "lower", "split": "whitespace"},
}


def judged(config: Any = None, **record: Any) -> dict[str, Any]:
    """Returns what comes of a model with such a layer, with changes in its config or its record."""
    layer = {**LAYER, **record, "config": {**LAYER["config"], **(config or {})}}
    model = {"module": "keras", "class_name": "Sequential", "config": {"name": "net", "layers": [layer]}}
    return checked_config(json.dumps({**model, "registered_name": None}), "x.keras")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model that Keras has saved."""
    words = keras.layers.TextVectorization(vocabulary=["zoo", "\u00e9t\u00e9"], output_sequence_length=3, name="words")
    net = keras.Sequential([keras.Input((), dtype="string"), words, keras.layers.Embedding(4, 2)])
    net.save(tmp_path / "net.keras")
    return tmp_path / "net.keras"


def test_what_keras_writes_of_words_in_the_config_passes_and_says_the_same(path: Path) -> None:
    texts = keras.ops.convert_to_tensor(["Zoo \u00e9t\u00e9!", "none"], "string")

    found = load_archive(path)

    assert np.asarray(found.get_layer("words")(texts)).tolist() == [[2, 3, 0], [1, 0, 0]]


def test_x05_a_vocabulary_in_a_file_or_an_archive_is_refused(path: Path, tmp_path: Path) -> None:
    config = config_of(path)
    layer = config["config"]["layers"][1]["config"]
    for vocabulary in ("/etc/passwd", "http://127.0.0.1:9/words", None):
        layer["vocabulary"] = vocabulary
        with pytest.raises(UnsafeFileError, match="'words' is a 'TextVectorization'.*or give it its words as a list"):
            load_archive(rewritten(path, config))


@pytest.mark.parametrize(
    "config",
    [
        *({"vocabulary": value} for value in ([], "words.txt", {"a": 1}, NUMPY, ["a", 1], ["a", FUNCTION], [["a"]])),
        *({"standardize": value} for value in (FUNCTION, "evil", 1)),
        *({"split": value} for value in (FUNCTION, "evil", True)),
        *({"ngrams": value} for value in (10**12, [1, 2], 2)),
        *({"encoding": value} for value in ("zip", "UTF-8 ", ["utf-8"], FUNCTION)),
        *({"output_mode": value} for value in ("tf_idf", "count", FUNCTION)),
        *({"idf_weights": value} for value in ([1.0], "file", NUMPY)),
        *({key: True} for key in ("sparse", "ragged", "pad_to_max_tokens", "max_tokens", "vocabulary_size")),
        *({"output_sequence_length": value} for value in ("5", 2.0, 0, -5)),
        *({key: 0} for key in ("sparse", "has_input_vocabulary", "vocabulary_file")),
        {"dtype": FUNCTION},
    ],
)
def test_x05_whatever_else_a_config_says_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(UnsafeFileError, match="layer 'words'"):
        judged(config)


@pytest.mark.parametrize(
    "record",
    [
        {"registered_name": "evil>TextVectorization"},
        {"module": "keras.src.layers.preprocessing.text_vectorization"},
        {"module": "builtins"},
        {"module": None},
        {"class_name": "textvectorization"},
        {"class_name": "StringLookup"},
        {"class_name": "IndexLookup"},
    ],
)
def test_x05_no_other_class_passes_for_it(record: dict[str, Any]) -> None:
    judged()
    with pytest.raises(UnsafeFileError):
        judged(**record)

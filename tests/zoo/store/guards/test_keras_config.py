"""Configs of Keras models, ordinary and hostile: what they may name, and that nothing of what they may not is run."""

from __future__ import annotations

import copy
import json
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
import pytest
from hostile_keras import (
    ORDINARY,
    SPOTS,
    Record,
    config_of,
    inputs_of,
    legacy_config,
    rewritten,
    small_model,
    touching,
    with_lambda,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import IntegrityError, UnsafeFileError, ZooError
from zoo.loading import build_architecture
from zoo.store.guards import keras_names
from zoo.store.guards.keras_config import checked_config

NEXT_KERAS = "99.0.0"


class SealedError(AssertionError):
    """Somebody tried to use the network."""


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Makes each use of the network raise, and returns the list of what was tried."""
    tried: list[Any] = []

    def refuse(*arguments: Any, **options: Any) -> NoReturn:
        tried.append(arguments)
        raise SealedError(f"{arguments}")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    return tried


@pytest.fixture
def canary(tmp_path: Path, sealed: list[Any]) -> Iterator[Path]:
    """A file that a payload would make; at the end of the test there is none, and nobody has used the network."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()
    assert not sealed


@pytest.fixture(scope="module")
def small() -> Record:
    """The config of `small_model` as a `.keras` archive has it."""
    found: Record = json.loads(small_model().to_json())
    return found


def function(module: str | None, name: str, registered_name: str | None = None) -> Record:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered_name or name}


def record(module: str | None, class_name: str, registered_name: str | None = None, /, **config: Any) -> Record:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered_name}


def bare(class_name: str, /, **config: Any) -> Record:
    return {"class_name": class_name, "config": config}


def in_a_model(*layers: Record) -> str:
    """Returns the text of a Sequential with these layers."""
    return json.dumps(record("keras", "Sequential", name="model", layers=list(layers)))


# --- ordinary models pass ---


def revived(config: Record) -> keras.Model:
    """Returns the model that an `.h5` file's checked config makes, by public calls alone."""
    found: keras.Model = {"Functional": keras.Model, "Sequential": keras.Sequential}[config["class_name"]].from_config(
        config["config"]
    )
    return found


@pytest.mark.parametrize("kind", ORDINARY)
def test_an_ordinary_model_passes_in_both_formats_and_is_built_from_what_passed(kind: str, tmp_path: Path) -> None:
    model = ORDINARY[kind]()
    model.save(tmp_path / "m.keras")
    config = checked_config(json.dumps(config_of(tmp_path / "m.keras")), "m.keras")
    again = keras.saving.deserialize_keras_object(config, safe_mode=True)
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    if kind == "augmentation":  # Keras itself cannot write it as .h5
        return
    model.save(tmp_path / "m.h5")
    legacy = revived(checked_config(legacy_config(tmp_path / "m.h5"), "m.h5"))
    legacy.load_weights(tmp_path / "m.h5")
    inputs = inputs_of(model)
    outputs = (keras.tree.flatten(each(inputs, training=False)) for each in (legacy, model))
    for found, expected in zip(*outputs, strict=True):
        np.testing.assert_array_equal(keras.ops.cast(found, "float32"), keras.ops.cast(expected, "float32"))


@pytest.mark.parametrize("arch", ["vgg16", "mobilenet", "convnext_tiny", "efficientnetb0"])
def test_a_net_of_keras_applications_passes_unchanged(arch: str) -> None:
    model = build_architecture(arch)
    text = model.to_json()
    expected = json.loads(text)
    for each in _records(expected):
        each.pop("compile_config", None)
    assert checked_config(text, arch) == expected


def test_what_keras_2_wrote_passes() -> None:
    """No module, no policies, an axis as a list, an input of another name."""
    first = bare("InputLayer", name="i", batch_input_shape=[None, 3], dtype="float32", sparse=False, ragged=False)
    dense = bare("Dense", name="d", trainable=True, dtype="float32", units=2, activation="relu")
    dense["config"]["kernel_initializer"] = bare("VarianceScaling", scale=1.0, mode="fan_avg", distribution="uniform")
    norm = bare("BatchNormalization", name="b", trainable=True, axis=[1])
    config = checked_config(json.dumps(bare("Sequential", name="s", layers=[first, dense, norm])), "x.h5")
    assert revived(config).output_shape == (None, 2)


def test_a_text_that_keras_would_take_for_a_function_of_its_own_stays_a_text() -> None:
    """Keras makes `keras.layers.dot` of score_mode="dot" in a layer without module."""
    config = bare("Attention", name="a", trainable=True, score_mode="dot")
    found = checked_config(json.dumps(bare("Sequential", name="s", layers=[config])), "x.h5")
    assert revived(found).layers[0].score_mode == "dot"


def test_every_name_on_the_lists_is_one_that_keras_finds() -> None:
    """A name that Keras does not have would only be a door left open for one that comes."""
    # Read from files of other versions alone.
    elsewhere = {"GroupedQueryAttention"}
    for module, names in keras_names.CLASSES.items():
        for name in names - elsewhere:
            __import__(module)
            found = getattr(sys.modules[module], name, None)
            assert isinstance(found, type) and hasattr(found, "from_config"), f"{module}.{name}"


def test_every_activation_and_the_like_on_the_lists_is_one_that_keras_finds() -> None:
    places = {"activation": keras.activations, "initializer": keras.initializers}
    places |= {"regularizer": keras.regularizers, "constraint": keras.constraints}
    for kind, module in places.items():
        for name in keras_names.NAMES[kind] - {"Constant", "constant"}:  # which need a value
            assert callable(module.get(name)), name


def test_nothing_that_is_refused_is_on_the_lists() -> None:
    allowed = set().union(*keras_names.CLASSES.values(), keras_names.BARE)
    assert not {each.casefold() for each in allowed} & {each.casefold() for each in keras_names.REFUSED}


def test_an_operation_has_one_module() -> None:
    """By its name alone an operation of an `.h5` file is given a module."""
    names = [name for names in keras_names.OPERATIONS.values() for name in names]
    assert len(names) == len(set(names))


# --- X01, X02: code in the file ---


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_x01_x02_a_lambda_runs_where_keras_is_told_to_trust_it_and_is_refused_here(
    suffix: str, tmp_path: Path, sealed: list[Any]
) -> None:
    canary, path = tmp_path / "canary", tmp_path / f"m.{suffix}"
    with_lambda(canary).save(path)
    canary.unlink(missing_ok=True)
    text = json.dumps(config_of(path)) if suffix == "keras" else legacy_config(path)
    with pytest.raises(UnsafeFileError, match="layer 'evil' is a 'Lambda'.*Python code"):
        checked_config(text, path.name)
    assert not canary.exists()
    keras.models.load_model(path, compile=False, safe_mode=False)
    assert canary.exists()  # the payload is one
    assert not sealed


@pytest.mark.parametrize("spot", SPOTS)
def test_x01_a_lambda_is_refused_wherever_it_stands(spot: str, small: Record, canary: Path) -> None:
    config, layer = copy.deepcopy(small), keras.layers.Lambda(touching(canary), name="evil")
    SPOTS[spot](config, keras.saving.serialize_keras_object(layer))
    with pytest.raises(UnsafeFileError, match="Python code"):
        checked_config(json.dumps(config), "x.keras")


# --- X03: any module, any callable ---

CALLABLES = {
    "os.system as a function": function("os", "system"),
    "os.system as a class": record("os", "system", command="touch canary"),
    "posix.system": function("posix", "system"),
    "subprocess.Popen": record("subprocess", "Popen", args=["touch", "canary"]),
    "subprocess.run": function("subprocess", "run"),
    "builtins.eval": function("builtins", "eval"),
    "builtins.eval as a class": record("builtins", "eval", source="1"),
    "eval without module": function(None, "eval"),
    "exec with the usual registered name": function("builtins", "exec", "function"),
    "importlib.import_module": function("importlib", "import_module"),
    "numpy.load": function("numpy", "load"),
    "torch.load": record("torch", "load", f="x.pt"),
    "keras.utils.get_file": function("keras.utils", "get_file"),
    "keras.utils.get_file as a class": record("keras.utils", "get_file", fname="x", origin="http://127.0.0.1:9/x"),
    "keras.saving.load_model": function("keras.saving", "load_model"),
    "keras.models.load_model": function("keras.models", "load_model"),
    "keras.config.enable_unsafe_deserialization": function("keras.config", "enable_unsafe_deserialization"),
    "keras.src.utils.python_utils.func_load": function("keras.src.utils.python_utils", "func_load"),
    "keras.applications.vgg16.decode_predictions": function("keras.applications.vgg16", "decode_predictions"),
    "keras.datasets.mnist.load_data": function("keras.datasets.mnist", "load_data"),
    "keras.callbacks": record("keras.callbacks", "CSVLogger", filename="x.csv"),
    "keras.distillation": record("keras.distillation", "Distiller"),
    "keras.src.ops.core.Map": record("keras.src.ops.core", "Map", "Map", name="map"),
    "keras.src.ops.core.VectorizedMap": record("keras.src.ops.core", "VectorizedMap", "VectorizedMap", function="x"),
    "keras.src.ops.function.Function": record("keras.src.ops.function", "Function", "Function"),
    "tensorflow": function("tensorflow.io", "write_file"),
    "a TFOpLambda": bare("TFOpLambda", name="f", function="io.write_file"),
    "a lambda of Keras 3": bare("__lambda__", value={"code": "4wAAAAA=", "defaults": None, "closure": None}),
    "a type of TensorFlow": bare("__typespec__") | {"spec_name": "system", "module": "os", "registered_name": None},
    "a type of TensorFlow in an .h5 file": bare("TypeSpec") | {"type_spec": "x", "serialized": []},
    "a function of keras.layers": bare("deserialize", config=function("os", "system")),
    "a TorchModuleWrapper": record("keras.layers", "TorchModuleWrapper", name="t", module="gAJ9cQAu"),
    "a JaxLayer": record("keras.layers", "JaxLayer", name="j"),
    "an array of objects": bare("__numpy__", value=[1], dtype="object"),
}


@pytest.mark.parametrize("what", CALLABLES)
@pytest.mark.parametrize("spot", SPOTS)
def test_x03_a_callable_is_refused_wherever_it_stands(what: str, spot: str, small: Record, canary: Path) -> None:
    config = copy.deepcopy(small)
    SPOTS[spot](config, CALLABLES[what])
    with pytest.raises(UnsafeFileError, match=r"^Refused x\.keras unread: .+"):
        checked_config(json.dumps(config), "x.keras")


def test_x03_a_function_of_keras_itself_uses_the_network_though_keras_deems_it_safe(
    tmp_path: Path, sealed: list[Any]
) -> None:
    """Seen with Keras 3.15.1: as an activation it downloads a file when the model is first used."""
    path, dense = tmp_path / "m.keras", keras.layers.Dense(1000)
    keras.Sequential([keras.Input((2,)), dense]).save(path)
    config = config_of(path)
    payload = function("keras.applications.vgg16", "decode_predictions")
    config["config"]["layers"][1]["config"]["activation"] = payload
    with pytest.raises(UnsafeFileError, match="'function decode_predictions' of 'keras.applications.vgg16'"):
        checked_config(json.dumps(config), "m.keras")
    assert not sealed
    model = keras.models.load_model(rewritten(path, config), compile=False, safe_mode=True)
    with pytest.raises(AssertionError, match="storage.googleapis.com"):
        model(np.ones((1, 2), "float32"))
    assert sealed  # the payload is one


TRICKS = {
    "a class_name that is a list": record("keras.layers", "Dense", name="d") | {"class_name": ["Dense"]},
    "a class_name that is a dict": record("keras.layers", "Dense", name="d") | {"class_name": {"a": 1}},
    "no class_name in it": record("keras.layers", "Dense", name="d") | {"class_name": None},
    "a module that is a number": record("keras.layers", "Dense", name="d") | {"module": 0},
    "a module that is a list": record("keras.layers", "Dense", name="d") | {"module": ["os"]},
    "a module that is empty": record("", "Lambda", name="f"),
    "no module in it": record(None, "Lambda", name="f"),
    "a registered_name that is a list": record("keras.layers", "Dense", name="d") | {"registered_name": ["Dense"]},
    "another registered_name": record("keras.layers", "Dense", "keras>Lambda", name="d"),
    "another registered_name without module": bare("Dense", name="d") | {"registered_name": "keras>Lambda"},
    "a Lambda registered by Keras": record("my_package", "Layer", "keras>Lambda", name="d"),
    "a Lambda registered by nobody": record("my_package", "Lambda", "Lambda", name="d"),
    "eval registered by builtins": record("my_package", "Layer", "builtins>eval", name="d"),
    "lower case": record("keras.layers", "lambda", name="f"),
    "lower case without module": bare("LAMBDA", name="f"),
    "upper case in the module": record("Keras.Layers", "Dense", name="d"),
    "wide letters": record("keras.layers", "\uff2c\uff41\uff4d\uff42\uff44\uff41", name="f"),
    "wide letters without module": bare("\uff2c\uff41\uff4d\uff42\uff44\uff41", name="f"),
    "a letter of another alphabet": record("keras.layers", "D\u0435nse", name="d"),
    "an invisible letter": bare("Lam\u200bbda", name="f"),
    "a space": record("keras.layers ", "Dense", name="d"),
    "a space before os": record(" os", "system", name="d"),
    "wide letters in os": record("\uff4f\uff53", "system", name="d"),
    "a dot in the name": bare("os.system", name="d"),
    "a path in the module": record("keras.layers/../utils", "get_file", name="d"),
    "a zero byte": record("keras.layers\0", "Dense", name="d"),
    "a module below the layers": record("keras.layers.core", "Dense", name="d"),
    "a base class": record("keras.layers", "Layer", name="d"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_x03_tricks_with_names_are_refused(trick: str, canary: Path) -> None:
    with pytest.raises(UnsafeFileError):
        checked_config(in_a_model(TRICKS[trick]), "x.keras")


@pytest.mark.parametrize("name", ["os.system", "eval", "__import__", "print", "keras.utils>get_file", "a b", "x()"])
@pytest.mark.parametrize("key", ["activation", "recurrent_activation", "kernel_initializer", "bias_constraint"])
def test_x03_names_of_other_functions_are_refused_where_keras_takes_names(key: str, name: str, canary: Path) -> None:
    with pytest.raises(UnsafeFileError, match=r"layer 'd' has the \w+ .* \(at config.layers\[0\].config."):
        checked_config(in_a_model(record("keras.layers", "LSTM", name="d", units=2, **{key: name})), "x.keras")


def test_x03_a_name_said_twice_is_refused(canary: Path) -> None:
    """One reader takes the first, another the last."""
    text = in_a_model(record("keras.layers", "Dense", name="d"))
    twice = text.replace('"Dense"', '"Lambda", "class\\u005fname": "Dense"')
    with pytest.raises(UnsafeFileError, match="'class_name' twice"):
        checked_config(twice, "x.keras")


def test_x03_what_a_newer_keras_would_have_is_no_excuse_for_a_function(canary: Path) -> None:
    for payload in (function("keras.utils", "get_file"), record("keras.layers", "get_file"), bare("Lambda")):
        with pytest.raises(UnsafeFileError):
            checked_config(in_a_model(payload), "x.keras", saved_by=NEXT_KERAS)


@pytest.mark.parametrize(
    "payload",
    [
        function("os", "system", "mine>Thing"),
        function("builtins", "eval", "mine>Thing"),
        function("os", "mine>Thing"),
        record("os", "system", "mine>Thing"),
        record("builtins", "Thing", "mine>Thing"),
        record("keras.layers", "Lambda", "mine>Thing", name="f"),
        record("keras.layers", "Dense", "mine>Thing", name="d"),
        record("keras.utils", "get_file", "mine>Thing"),
        bare("Lambda", name="f") | {"registered_name": "mine>Thing"},
        bare("function") | {"registered_name": "mine>Thing"},
        bare("__lambda__") | {"registered_name": "mine>Thing"},
    ],
    ids=str,
)
def test_x03_a_registered_name_lets_nothing_else_pass(payload: Record, canary: Path) -> None:
    with pytest.raises(UnsafeFileError):
        checked_config(in_a_model(payload), "x.keras", registered={"mine>Thing", "function", "Lambda"})


def test_x03_what_a_model_was_compiled_with_is_dropped_unread_at_any_depth(small: Record, canary: Path) -> None:
    payloads = [*CALLABLES.values(), *TRICKS.values()]
    config = copy.deepcopy(small)
    inner = next(each for each in config["config"]["layers"] if each["config"]["name"] == "inner")
    for place in (config, inner, inner["config"]["layers"][1]):
        place["compile_config"] = {"optimizer": "adam", "loss": payloads, "metrics": {"a": payloads}}
    config["training_config"] = {"loss": payloads}
    found = checked_config(json.dumps(config), "x.keras")
    assert "compile_config" not in json.dumps(found)
    assert "training_config" not in found
    keras.saving.deserialize_keras_object(found, safe_mode=True)


# --- X04, X05: layers that read ---


def saved_program(folder: Path, canary: Path) -> Path:
    """Saves a SavedModel that writes the file `canary` when it is called."""
    import tensorflow as tf

    class Program(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None, 2])])  # type: ignore[untyped-decorator]
        def serve(self, x: Any) -> Any:
            tf.io.write_file(str(canary), "x")
            return x

    program = Program()
    tf.saved_model.save(program, str(folder), signatures={"serving_default": program.serve})
    return folder


def test_x04_a_tfsmlayer_writes_a_file_where_keras_is_told_to_trust_it_and_is_refused_here(
    tmp_path: Path, sealed: list[Any]
) -> None:
    canary, path = tmp_path / "canary", tmp_path / "m.keras"
    program = saved_program(tmp_path / "program", canary)
    layer = keras.layers.TFSMLayer(str(program), call_endpoint="serving_default", name="evil")
    keras.Sequential([keras.Input((2,)), layer]).save(path)
    with pytest.raises(UnsafeFileError, match="layer 'evil' is a 'TFSMLayer' .*SavedModel"):
        checked_config(json.dumps(config_of(path)), "m.keras")
    assert not canary.exists()
    keras.models.load_model(path, compile=False, safe_mode=False)(np.ones((1, 2), "float32"))
    assert canary.exists()  # the payload is one
    assert not sealed


@pytest.mark.parametrize("spot", SPOTS)
def test_x04_a_tfsmlayer_is_refused_wherever_it_stands(spot: str, small: Record, tmp_path: Path, canary: Path) -> None:
    config = copy.deepcopy(small)
    options = {"filepath": str(tmp_path), "call_endpoint": "serving_default"}
    SPOTS[spot](config, record("keras.layers", "TFSMLayer", name="evil", **options))
    with pytest.raises(UnsafeFileError, match="SavedModel"):
        checked_config(json.dumps(config), "x.keras")


def test_x05_a_vocabulary_is_read_from_any_file_where_keras_is_told_to_trust_it_and_is_refused_here(
    tmp_path: Path, canary: Path
) -> None:
    secret, path = tmp_path / "secret", tmp_path / "m.keras"
    secret.write_text("hunter2\n")
    layer = keras.layers.StringLookup(vocabulary=["a"], name="words")
    keras.Sequential([keras.Input((1,), dtype="string"), layer]).save(path)
    config = config_of(path)
    config["config"]["layers"][1]["config"]["vocabulary"] = str(secret)
    with pytest.raises(UnsafeFileError, match="layer 'words' is a 'StringLookup'.*look the words up before the model"):
        checked_config(json.dumps(config), "m.keras")
    model = keras.saving.deserialize_keras_object(config, safe_mode=False)
    assert "hunter2" in model.get_layer("words").get_vocabulary()  # the payload is one


@pytest.mark.parametrize(
    ("class_name", "vocabulary", "has_module"),
    [
        (class_name, vocabulary, has_module)
        for class_name in ("StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization")
        for vocabulary in ("/etc/passwd", "http://127.0.0.1:9/words", ["a", "b"])
        for has_module in (True, False)
        if (class_name, vocabulary, has_module) != ("TextVectorization", ["a", "b"], True)  # which may pass
    ],
)
def test_x05_layers_with_a_vocabulary_are_refused_but_for_one_that_has_its_words(
    class_name: str, vocabulary: Any, has_module: bool, canary: Path
) -> None:
    make: Any = record if has_module else bare
    layer = make(*(["keras.layers"] if has_module else []), class_name, name="words", vocabulary=vocabulary)
    with pytest.raises(UnsafeFileError, match="layer 'words' is a .*vocabulary.*look the words up before the model"):
        checked_config(in_a_model(layer), "x.keras")


# --- A02: no JSON of a model ---


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"\x00\xff\xfe", b"PK\x03\x04", b"null", b"[]", b'"Dense"', b"{}", b'{"config": {}}', b"1" * 5000),
        *(b'{"class_name": "Sequential"}', b'{"class_name": 1, "config": {}}', '{"class_name": "A"}'.encode("utf-16")),
    ],
)
def test_a02_text_that_is_no_model_is_named_so(text: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"Expected the config of a Keras model .*x\.keras"):
        checked_config(text, "x.keras")


def test_constants_as_keras_writes_them_are_read() -> None:
    layer = record("keras.layers", "ReLU", name="r", max_value=float("inf"), threshold=float("-inf"))
    found = checked_config(in_a_model(layer), "x.keras")
    assert found["config"]["layers"][0]["config"]["max_value"] == float("inf")


def test_a_long_list_of_numbers_passes() -> None:
    """What Normalization has learned of 400,000 features stands in its config."""
    layer = record("keras.layers", "Normalization", name="n", axis=-1, mean=[0.5] * 400_000, variance=[1.0] * 400_000)
    assert len(checked_config(in_a_model(layer), "x.keras")["config"]["layers"][0]["config"]["mean"]) == 400_000


# --- A11: custom objects, another Keras ---


def test_a11_a_custom_layer_is_named_with_its_module_and_what_to_do(canary: Path) -> None:
    layer = record("my_package.layers", "Twice", "mine>Twice", name="twice_1")
    text = in_a_model(record("keras.layers", "Dense", name="d"), layer)
    with pytest.raises(IntegrityError) as error:
        checked_config(text, "x.keras")
    message = str(error.value)
    assert "x.keras needs custom objects that are not there" in message
    assert "layer 'twice_1' is a 'Twice' of 'my_package.layers', registered as 'mine>Twice'" in message
    assert "at config.layers[1]" in message
    assert "import the code that defines them" in message
    assert "my_package" not in sys.modules
    assert checked_config(text, "x.keras", registered={"mine>Twice"}) == json.loads(text)


def test_a11_all_that_is_missing_is_told_at_once_and_what_is_there_twice_once() -> None:
    names = ["One", "Two", "Three", "Four", "Five", "Six", "Six"]
    layers = [record("mine", name, f"mine>{name}", name=f"layer_{count}") for count, name in enumerate(names)]
    with pytest.raises(IntegrityError, match="'One'.*'Two'.*'Three'.*'Four'.*'Five'.*; and 1 more"):
        checked_config(in_a_model(*layers), "x.keras")


@pytest.mark.parametrize(
    ("layer", "needed"),
    [
        (record("mine", "Twice", "mine>Twice", name="t"), "mine>Twice"),
        (record("keras_hub.src.layers", "RotaryEmbedding", "keras_hub>RotaryEmbedding"), "keras_hub>RotaryEmbedding"),
        (record(None, "Twice", "Twice", name="t"), "Twice"),  # of __main__, never registered
        (record("__main__", "Twice", "Custom>Twice", name="t"), "Custom>Twice"),
        (bare("mine>Twice", name="t", trainable=True), "mine>Twice"),  # as .h5 files have it
        (bare("Twice", name="t", trainable=True), "Twice"),
        (bare("Sum", name="t", trainable=True), "Sum"),  # no operation: those have no such key
        (record("mine", "Lambda", "mine>Lambda", name="t"), "mine>Lambda"),
        (record("keras.layers", "Dense", name="t", activation="mine>wave"), "mine>wave"),
        (record("keras.layers", "Dense", name="t", activation=function("builtins", "wave", "function")), "wave"),
        (record("keras.layers", "Dense", name="t", kernel_regularizer=record("m", "Small", "m>Small")), "m>Small"),
    ],
    ids=str,
)
def test_a11_a_custom_object_passes_only_where_its_own_name_is_registered(
    layer: Record, needed: str, canary: Path
) -> None:
    with pytest.raises(IntegrityError, match="needs custom objects"):
        checked_config(in_a_model(layer), "x.keras", registered={"other>Thing", "mine"})
    assert checked_config(in_a_model(layer), "x.keras", registered={needed})


def test_a11_a_real_custom_layer_and_activation_load_once_registered(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable(package="a11")
    class Twice(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return 2 * x

    @keras.saving.register_keras_serializable(package="a11")
    def wave(x: Any) -> Any:
        return keras.ops.sin(x)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Twice()(keras.layers.Dense(2, activation=wave)(inputs)))
    for suffix in ("keras", "h5"):
        path = tmp_path / f"m.{suffix}"
        model.save(path)
        text = json.dumps(config_of(path)) if suffix == "keras" else legacy_config(path)
        with pytest.raises(IntegrityError, match="a11>wave.*'Twice'|a11>wave.*a11>Twice"):
            checked_config(text, path.name)
        config = checked_config(text, path.name, registered=keras.saving.get_custom_objects())
        again = keras.saving.deserialize_keras_object(config) if suffix == "keras" else revived(config)
        again.set_weights(model.get_weights())
        example = np.ones((1, 3), "float32")
        np.testing.assert_array_equal(again(example), model(example))


def test_a11_something_unsafe_counts_more_than_something_missing() -> None:
    custom, unsafe = record("mine", "Twice", "mine>Twice", name="t"), bare("Lambda", name="f")
    with pytest.raises(UnsafeFileError):
        checked_config(in_a_model(custom, unsafe), "x.keras")


def test_a11_a_class_that_only_a_newer_keras_has_is_named_with_both_versions() -> None:
    text = in_a_model(record("keras.layers", "HyperDense", name="h"))
    with pytest.raises(IntegrityError, match=f"'{NEXT_KERAS}', newer than the {keras.__version__}.*'HyperDense'"):
        checked_config(text, "x.keras", saved_by=NEXT_KERAS)
    for version in (None, keras.__version__, "3.0.0", "", "newest"):
        with pytest.raises(UnsafeFileError, match="HyperDense"):
            checked_config(text, "x.keras", saved_by=version)


@pytest.mark.parametrize(
    ("module", "class_name"),
    [("keras.src.engine.functional", "Functional"), ("tf_keras.layers", "Dense"), ("tf_keras", "Sequential")],
)
def test_a11_what_only_keras_2_reads_is_named_so(module: str, class_name: str) -> None:
    with pytest.raises(IntegrityError, match="saved by Keras 2"):
        checked_config(in_a_model(record(module, class_name, name="d")), "x.keras")


def test_a_message_shows_names_of_a_file_escaped_and_shortened() -> None:
    layer = record("keras.layers", "\x1b[2J" + "x" * 5000, name="\x1b]0;owned\x07" + "y" * 5000)
    with pytest.raises(UnsafeFileError) as error:
        checked_config(in_a_model(layer), "x.keras")
    message = str(error.value)
    assert "\x1b" not in message
    assert len(message) < 1_000  # a terminal's window


# --- mutations ---


def _mutated(value: Any, random: random.Random) -> Any:
    """Returns a config with one thing in it replaced, doubled, emptied or renamed."""
    texts = [
        "Lambda",
        "os",
        "system",
        "function",
        "Dense",
        "keras.layers",
        "",
        "builtins",
        "mine>Thing",
        "\0",
        "x" * 99,
    ]
    odd = [None, 0, -1, 1e999, [], {}, True, *texts, *CALLABLES.values(), {"class_name": []}, {"class_name": None}]
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        renamed = random.choice(["class_name", "module", "config", "registered_name", key, key, key, key])
        return {**value, renamed: _mutated(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.9:
        place = random.randrange(len(value))
        return [*value[:place], _mutated(value[place], random), *value[place + 1 :]]
    return random.choice(odd)


def _records(value: Any) -> Iterator[Record]:
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from _records(each)


@given(seed=st.integers(0, 1 << 32), changes=st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_a_mutated_config_passes_with_known_names_only_or_is_refused(seed: int, changes: int, small: Record) -> None:
    config: Any = copy.deepcopy(small)
    for _ in range(changes):
        config = _mutated(config, random.Random(seed := seed + 1))
    try:
        found = checked_config(json.dumps(config), "x.keras", registered={"mine>Thing"})
    except ZooError:
        return
    values = {"__keras_tensor__", "__numpy__", "__bytes__", "__slice__", "__ellipsis__", "__tensor__"}
    for each in _records(found):
        known = keras_names.CLASSES.get(each.get("module") or "", keras_names.BARE) | values
        registered = "mine>Thing" in (each["class_name"], each.get("registered_name"), each.get("config"))
        plain = each["class_name"] == "function" and each["config"] in keras_names.ACTIVATIONS
        assert each["class_name"] in known or registered or plain, each


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=200, deadline=None)
def test_a_config_with_mutated_bytes_passes_or_is_refused(seed: int, small: Record) -> None:
    chance = random.Random(seed)
    text = bytearray(json.dumps(small).encode())
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(text))
        text[place : place + chance.randint(0, 3)] = chance.choice([b"", b'"', b"{", b"]", b"\xff", b"\\", b"[[", b"9"])
    try:
        checked_config(bytes(text), "x.keras")
    except ZooError as error:
        assert "x.keras" in str(error)

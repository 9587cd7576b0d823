"""Restoring into a model: what is chosen, what names are found, and that nothing is ever half loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from zoo.converters import RestoreReport, restore

from zoo.errors import IntegrityError, NotFoundError, UsageError, ZooError

SHAPES = {
    "hidden1/kernel": (6, 5),
    "hidden1/bias": (5,),
    "hidden2/kernel": (5, 5),
    "hidden2/bias": (5,),
    "outputs/kernel": (5, 3),
    "outputs/bias": (3,),
}


def net() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(5, activation="relu", name="hidden1")(inputs)
    x = keras.layers.Dense(5, activation="relu", name="hidden2")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="outputs")(x))


def arrays(prefix: str = "", **more: Any) -> dict[str, Any]:
    """Returns values for each variable of the net, no two alike."""
    chance = np.random.default_rng(3)
    return {f"{prefix}{name}": chance.normal(size=shape).astype("float32") for name, shape in SHAPES.items()} | more


def values(model: keras.Model) -> dict[str, Any]:
    return {weight.path: np.array(weight) for weight in model.weights}


def is_restored(model: keras.Model, source: dict[str, Any], names: dict[str, str]) -> None:
    """Asserts that variables have the source's values: by the model's names, and all others those that they had."""
    before, found = values(net()), values(model)
    for name in SHAPES:
        expected = source[names[name]] if name in names else before[name]
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def unharmed(model: keras.Model, attempt: Callable[[], Any], error: type[ZooError], match: str) -> str:
    """Asserts that an attempt is refused in words, and that the model is as it was; returns the words."""
    before = values(model)
    with pytest.raises(error, match=match) as caught:
        attempt()
    assert all(np.array_equal(before[name], each) for name, each in values(model).items())
    return str(caught.value)


# --- what is chosen ---


def test_all_variables_of_the_same_names_are_restored_and_the_rest_is_told() -> None:
    model, source = net(), arrays(global_step=np.int64(7))
    report = restore(model, source)
    is_restored(model, source, {name: name for name in SHAPES})
    assert report.loaded == tuple(SHAPES)
    assert (report.left, report.missing, report.unused) == ((), (), ("global_step",))
    assert str(report) == "6 of the model's variables loaded; 1 of the source unused (global_step)"


def test_what_include_does_not_name_is_left_alone() -> None:
    model, source = net(), arrays()
    report = restore(model, source, include="hidden[12]")
    is_restored(model, source, {name: name for name in SHAPES if name.startswith("hidden")})
    assert report.left == report.unused == ("outputs/kernel", "outputs/bias")
    assert report.missing == ()


def test_a_pattern_matches_from_the_beginning_of_a_name_and_needs_not_reach_its_end() -> None:
    import tensorflow as tf

    with tf.Graph().as_default():
        for name in ("hidden1", "hidden12", "deep/hidden1"):
            with tf.compat.v1.variable_scope(name):
                tf.compat.v1.get_variable("kernel", ())
        judge = [each.op.name for each in tf.compat.v1.global_variables("hidden1")]
    assert judge == ["hidden1/kernel", "hidden12/kernel"]  # as the book's TensorFlow had it
    inputs = keras.Input((2,))
    layers = [keras.layers.Dense(2, use_bias=False, name=name) for name in ("hidden1", "hidden12", "deep_hidden1")]
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    source = {f"{layer.name}/kernel": np.ones((2, 2), "float32") for layer in layers}
    assert list(restore(model, source, include="hidden1").loaded) == judge
    assert list(restore(model, source, include="hidden1/").loaded) == judge[:1]
    assert len(restore(model, source, include=".*hidden1").loaded) == 3


@pytest.mark.parametrize("exclude", ["outputs", ["outputs/kernel", "outputs/bias"], [".*3$", "outputs"][1:]])
def test_what_exclude_names_is_left_alone(exclude: Any) -> None:
    model, source = net(), arrays()
    report = restore(model, source, exclude=exclude)
    is_restored(model, source, {name: name for name in SHAPES if not name.startswith("outputs")})
    assert report.left == ("outputs/kernel", "outputs/bias")


def test_names_of_the_source_choose_too() -> None:
    model, source = net(), arrays("dnn/")
    report = restore(model, source, include="dnn/hidden", exclude="dnn/hidden2")
    is_restored(model, source, {name: f"dnn/{name}" for name in SHAPES if name.startswith("hidden1")})
    assert report.names == {name: f"dnn/{name}" for name in ("hidden1/kernel", "hidden1/bias")}


def test_what_the_source_lacks_is_missing_and_stays_as_it_was() -> None:
    model, source = net(), arrays()
    del source["hidden2/kernel"]
    report = restore(model, source, include="hidden")
    assert report.missing == ("hidden2/kernel",)
    assert report.left == ("outputs/kernel", "outputs/bias")
    is_restored(model, source, {name: name for name in ("hidden1/kernel", "hidden1/bias", "hidden2/bias")})


def test_a_model_with_a_new_head_takes_the_rest() -> None:
    inputs = keras.Input((6,))
    x = keras.layers.Dense(5, name="hidden1")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(9, name="flowers")(x))
    report = restore(model, arrays())
    assert report.loaded == ("hidden1/kernel", "hidden1/bias")
    assert report.missing == ("flowers/kernel", "flowers/bias")


# --- names ---


@pytest.mark.parametrize(
    "spelled",
    [
        lambda name: f"{name}:0",
        lambda name: name.replace("/", "."),
        lambda name: name.replace("kernel", "weights").replace("bias", "biases"),
        lambda name: f"dnn/{name}",
        lambda name: f"my/net/{name}".replace("kernel", "weights"),
        lambda name: f"{name}/.ATTRIBUTES/VARIABLE_VALUE",
        lambda name: f"{name.split('/')[0]}/{name}:0",
    ],
)
def test_names_are_found_however_they_are_spelled(spelled: Callable[[str], str]) -> None:
    names = {name: spelled(name) for name in SHAPES}
    source = {names[name]: array for name, array in arrays().items()}
    model = net()
    assert restore(model, source).names == names
    is_restored(model, source, names)


@pytest.mark.parametrize(
    "rename",
    [
        {r"^old/": "", "_w$": "/kernel", "_b$": "/bias"},
        {r"^old/(\w+)_w$": r"\1/kernel", r"^old/(\w+)_b": r"\1/bias"},
        lambda name: name[4:].replace("_w", "/kernel").replace("_b", "/bias") if name.startswith("old/") else None,
    ],
)
def test_names_are_found_as_they_are_renamed(rename: Any) -> None:
    names = {name: "old/" + name.replace("/kernel", "_w").replace("/bias", "_b") for name in SHAPES}
    source = {names[name]: array for name, array in arrays().items()} | {"step": np.zeros(())}
    model = net()
    report = restore(model, source, rename=rename)
    is_restored(model, source, names)
    assert report.unused == ("step",)


def test_what_an_optimizer_keeps_is_never_taken_for_a_variable() -> None:
    slots = {f"optimizer/m/{name}": np.ones(shape, "float32") for name, shape in SHAPES.items()}
    slots |= {f"Adam/v/{name}": np.ones(shape, "float32") for name, shape in SHAPES.items()}
    slots |= {f"{name}/Adam_1": np.ones(shape, "float32") for name, shape in SHAPES.items()}
    model, source = net(), arrays("dnn/") | slots
    report = restore(model, source)
    is_restored(model, source, {name: f"dnn/{name}" for name in SHAPES})
    assert set(report.unused) == set(slots)
    with pytest.raises(UsageError, match="none of the variables"):
        restore(net(), slots)


def test_two_that_could_be_meant_are_refused_with_both_names() -> None:
    model, source = net(), arrays("online/") | arrays("target/")
    unharmed(model, lambda: restore(model, source), UsageError, "online/hidden1/kernel, target/hidden1/kernel")
    assert len(restore(model, source, exclude="target").loaded) == 6
    is_restored(model, source, {name: f"online/{name}" for name in SHAPES})
    model = net()
    restore(model, source, include="target/")
    is_restored(model, source, {name: f"target/{name}" for name in SHAPES})
    model = net()
    restore(model, source, rename={"^target/": ""})
    is_restored(model, source, {name: f"target/{name}" for name in SHAPES})


def test_two_that_are_renamed_to_one_are_refused() -> None:
    model = net()
    unharmed(model, lambda: restore(model, arrays(), rename={r"hidden\d": "hidden1"}), UsageError, "could be any of")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        pytest.param({"include": "hiden1"}, "include 'hiden1' matches none.*Did you mean hidden1", id="include"),
        pytest.param({"exclude": ["outputs", "logits"]}, "exclude 'logits' matches none", id="exclude"),
        pytest.param({"rename": {"^dnn/": ""}}, "rename '\\^dnn/' matches none", id="rename"),
        pytest.param({"layout": {"conv": "OI->IO"}}, "layout 'conv' matches none", id="layout"),
        pytest.param({"include": "hidden["}, "regular expression; 'hidden\\[' is none", id="no-expression"),
        pytest.param({"rename": {"hidden": r"\9"}}, "cannot replace", id="no-replacement"),
        pytest.param({"include": []}, "none of the variables", id="nothing-wanted"),
        pytest.param({"exclude": ".*"}, "none of the variables", id="all-excluded"),
    ],
)
def test_arguments_that_cannot_be_right_are_refused(options: dict[str, Any], match: str) -> None:
    model = net()
    unharmed(model, lambda: restore(model, arrays(), **options), UsageError, match)


def test_variables_of_nested_and_recurrent_layers_have_one_name() -> None:
    inner = keras.Sequential([keras.Input((6, 4)), keras.layers.LSTM(3, name="rnn")], name="inner")
    model = keras.Sequential([keras.Input((6, 4)), inner, keras.layers.Dense(2, name="outputs")])
    names = ["inner/rnn/lstm_cell/kernel", "inner/rnn/lstm_cell/recurrent_kernel", "inner/rnn/lstm_cell/bias"]
    source = {name: np.full(shape, 2.0) for name, shape in zip(names, ((4, 12), (3, 12), (12,)), strict=True)}
    report = restore(model, source)
    assert list(report.loaded) == names
    assert report.missing == ("outputs/kernel", "outputs/bias")
    assert all(np.array(weight).min() == 2.0 for weight in inner.weights)


def test_a_normalization_that_was_restored_normalizes_with_what_it_was_given() -> None:
    layer = keras.layers.Normalization(name="scaling")
    model = keras.Sequential([keras.Input((2,)), layer])
    restore(model, {"scaling/mean": np.array([1.0, 2.0]), "scaling/variance": np.array([4.0, 1.0])})
    np.testing.assert_allclose(model(np.array([[3.0, 3.0]])), [[1.0, 1.0]])


# --- all or nothing ---


def test_one_error_lists_all_that_does_not_fit_and_nothing_is_loaded() -> None:
    model = net()
    source = arrays() | {
        "hidden1/kernel": np.ones((5, 6), "float32"),
        "hidden2/bias": np.ones(5, "int32"),
        "outputs/kernel": np.ones((5, 4), "float32"),
    }
    text = unharmed(model, lambda: restore(model, source), IntegrityError, "3 of the 6 variables")
    assert "hidden1/kernel: shape 6x5 expected, 5x6 found (the same sizes in another order: declare it" in text
    assert "hidden2/bias: float32 expected, int32 found" in text
    assert "outputs/kernel: shape 5x3 expected, 5x4 found" in text
    assert len(restore(model, source, exclude=["hidden1/kernel", "hidden2/bias", "outputs/kernel"]).loaded) == 3


def test_values_that_the_model_cannot_hold_are_refused_before_anything_is_written() -> None:
    model = net()
    source = arrays() | {"outputs/bias": np.array([1.0, 1e300, 0.0])}
    unharmed(model, lambda: restore(model, source), IntegrityError, "outputs/bias has values beyond the range")


def test_a_file_that_breaks_off_at_its_last_array_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    np.savez(path, **arrays())
    data = bytearray(path.read_bytes())
    at = data.rindex(b"\x93NUMPY") + 128  # the values of the last array
    data[at] ^= 1
    path.write_bytes(data)
    model = net()
    unharmed(model, lambda: restore(model, path), IntegrityError, "net.npz cannot be read")


def test_numbers_of_the_same_kind_become_those_of_the_model() -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="a", dtype="bfloat16")(inputs))
    kernel = np.array([[1.0, 0.5], [-2.0, 3.0]])
    for kind in ("float64", "float16", ml_dtypes.bfloat16):
        restore(model, {"a/kernel": kernel.astype(kind), "a/bias": np.zeros(2, kind)})
        np.testing.assert_array_equal(np.array(model.weights[0]).astype("float64"), kernel)


@pytest.mark.parametrize(
    ("kind", "dtype", "value"),
    [(ml_dtypes.bfloat16, "float16", 1e5), ("float32", "float16", 1e5), ("float64", "bfloat16", 1e300)],
)
def test_numbers_beyond_the_range_of_the_models_type_are_refused(kind: Any, dtype: str, value: float) -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="a", dtype=dtype)(inputs))
    source = {"a/kernel": np.full((2, 2), value).astype(kind)}
    unharmed(model, lambda: restore(model, source), IntegrityError, f"beyond the range of {dtype}")


def test_large_arrays_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.converters.restoring import restorer

    monkeypatch.setattr(restorer, "_PIECE", 40)  # bytes: two rows of five numbers
    model, source = net(), arrays()
    restore(model, source)
    is_restored(model, source, {name: name for name in SHAPES})


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "net.ckpt", tmp_path / "net.npz", tmp_path / "net.ckpt.index"):
        with pytest.raises(NotFoundError, match=f"no {path}"):
            restore(net(), path)
    with pytest.raises(UsageError, match="is a folder"):
        restore(net(), tmp_path)
    (tmp_path / "net.txt").write_text("1 2 3")
    with pytest.raises(UsageError, match="ends with none of these"):
        restore(net(), tmp_path / "net.txt")


def test_a_report_says_all_four() -> None:
    report = RestoreReport(("a",), ("b",), ("c",), tuple("defghijk"))
    assert str(report) == (
        "1 of the model's variables loaded; 1 left alone (b); 1 missing in the source (c); 8 of the source unused "
        "(d, e, f, g, h, i, ...)"
    )


def test_names_out_of_a_file_are_fit_for_a_terminal() -> None:
    evil = "dnn\x1b[2J/hidden1/kernel"
    text = unharmed(net(), lambda: restore(net(), {evil: np.ones((2, 2))}), IntegrityError, "do not fit")
    assert text.isprintable() and "x1b" in text
    source = {"\x1b[2J/kernel": np.ones((2, 2))}
    text = unharmed(net(), lambda: restore(net(), source), UsageError, "none of the variables")
    assert text.isprintable()


def test_what_a_function_of_the_users_raises_is_not_taken_for_damage(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", **arrays())
    for options in ({"rename": {}.__getitem__}, {"layout": {"hidden": lambda values: {}[values.size]}}):
        with pytest.raises(KeyError):
            restore(net(), tmp_path / "net.npz", **options)

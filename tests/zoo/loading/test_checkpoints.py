"""Checkpoints without a graph as models: told by shapes, or by what the user says of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from book_net import WIDTHS, BookNet, trained_book_net
from zoo.converters.restoring.sources import opened_source

from zoo.errors import IntegrityError, NotFoundError, UnsafeFileError, UsageError
from zoo.loading.from_checkpoint import load_checkpoint
from zoo.loading.restoring import restore
from zoo.surgery import split_units


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> BookNet:
    return trained_book_net(tmp_path_factory.mktemp("book"))


def saved(prefix: Path, variables: dict[str, Any]) -> Path:
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=list(variables.values()),
    )
    return prefix


# --- chains of dense layers ---


def test_the_books_net_is_told_by_its_checkpoint_alone(book: BookNet) -> None:
    model, report = load_checkpoint(book.prefix, activation="elu")
    np.testing.assert_allclose(model(book.x), book.logits, rtol=1e-4, atol=1e-4)
    assert [unit.name for unit in split_units(model)] == list(WIDTHS)
    assert [layer.name for layer in model.layers[1:]] == list(WIDTHS)
    assert len(report.loaded) == 12
    assert (report.left, report.missing) == ((), ())
    assert sum("Adam" in name for name in report.unused) == 24
    assert "global_step" in report.unused


def test_training_goes_on_from_where_it_was(book: BookNet) -> None:
    model, _ = load_checkpoint(book.prefix, activation="elu")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    first = model.evaluate(book.x, book.y, verbose=0, batch_size=200)
    assert first == pytest.approx(book.loss, rel=1e-3)
    model.fit(book.x, book.y, epochs=5, verbose=0, batch_size=200)
    assert model.evaluate(book.x, book.y, verbose=0, batch_size=200) < first


@pytest.mark.parametrize("version", [1, 2])
def test_scopes_and_both_kinds_of_files(tmp_path: Path, version: int) -> None:
    net = trained_book_net(tmp_path / "nets", scope="dnn/", version=version, steps=1)
    for path in (net.prefix, net.prefix.parent):
        model, _ = load_checkpoint(path, activation="elu")
        np.testing.assert_allclose(model(net.x), net.logits, rtol=1e-4, atol=1e-4)
        assert [layer.name for layer in model.layers[1:]] == list(WIDTHS)
    part, _ = load_checkpoint(net.prefix, activation="elu", include="hidden[12]")
    assert [layer.name for layer in part.layers[1:]] == ["hidden1", "hidden2"]


def test_the_hidden_layers_that_are_wanted_are_a_net_of_their_own(book: BookNet) -> None:
    model, report = load_checkpoint(book.prefix, activation="elu", include="hidden[123]/")
    assert [layer.name for layer in model.layers[1:]] == ["hidden1", "hidden2", "hidden3"]
    assert [layer.activation.__name__ for layer in model.layers[1:]] == ["elu"] * 3  # the last is no output
    whole, _ = load_checkpoint(book.prefix, activation="elu")
    third = keras.Model(whole.input, whole.get_layer("hidden3").output)
    np.testing.assert_allclose(model(book.x), third(book.x), rtol=1e-5, atol=1e-6)
    assert "hidden4/kernel" in report.unused


def test_one_of_two_nets_is_chosen(tmp_path: Path, book: BookNet) -> None:
    variables = {name: value for name, value in book.values.items() if "Adam" not in name and value.shape}
    both = {f"online/{name}": value for name, value in variables.items()}
    both |= {f"target/{name}": value * 2 for name, value in variables.items()}
    prefix = saved(tmp_path / "dqn.ckpt", both)
    with pytest.raises(UsageError, match="dqn.ckpt: .*"):
        load_checkpoint(prefix, activation="elu")
    for options in ({"include": "online"}, {"exclude": "target"}):
        model, report = load_checkpoint(prefix, activation="elu", **options)
        np.testing.assert_allclose(model(book.x), book.logits, rtol=1e-4, atol=1e-4)
        assert len(report.unused) == 12


def test_renamed_scopes_name_the_layers(book: BookNet) -> None:
    model, _ = load_checkpoint(book.prefix, activation="elu", rename={"^hidden": "layer", "^outputs": "classes"})
    assert [layer.name for layer in model.layers[1:]] == [*(f"layer{n}" for n in range(1, 6)), "classes"]
    np.testing.assert_allclose(model(book.x), book.logits, rtol=1e-4, atol=1e-4)


def test_what_no_checkpoint_tells_is_asked_for(book: BookNet) -> None:
    with pytest.raises(UsageError, match="784-300-50-50-50-50-10.*--activation relu"):
        load_checkpoint(book.prefix)
    with pytest.raises(UsageError, match="Expected an activation of Keras.*Did you mean relu"):
        load_checkpoint(book.prefix, activation="rellu")
    with pytest.raises(UsageError, match="include 'layer1' matches none"):
        load_checkpoint(book.prefix, activation="relu", include="layer1")


def test_layers_without_a_bias_and_a_single_layer_need_no_activation(tmp_path: Path) -> None:
    kernel = np.arange(12, dtype="float32").reshape(4, 3)
    model, _ = load_checkpoint(saved(tmp_path / "net", {"fc/kernel": kernel}))
    np.testing.assert_array_equal(model(np.eye(4, dtype="float32")), kernel)


def test_an_order_that_cannot_be_told_is_refused_with_the_candidates(tmp_path: Path) -> None:
    shapes = {"front": (4, 3), "left": (3, 3), "right": (3, 3), "back": (3, 2)}
    prefix = saved(tmp_path / "net", {f"{name}/kernel": np.ones(shape, "float32") for name, shape in shapes.items()})
    with pytest.raises(UsageError, match="front - left - right - back; or front - right - left - back"):
        load_checkpoint(prefix, activation="relu")


# --- nets that are said ---


def mobilenet() -> keras.Model:
    return keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, weights=None, classes=7)


def test_a_net_of_keras_is_filled_by_the_names_of_its_layers(tmp_path: Path) -> None:
    original = keras.applications.MobileNet(weights=None)
    variables = {f"{each.path}": np.array(each) for each in original.weights}
    variables["training/iterations"] = np.int64(3)
    model, report = load_checkpoint(saved(tmp_path / "net", variables), arch="mobilenet")
    x = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    np.testing.assert_allclose(model(x), original(x), rtol=1e-4, atol=1e-6)
    assert (report.missing, report.unused) == ((), ("training/iterations",))
    del variables["conv1/kernel"], variables["training/iterations"]
    partial, report = load_checkpoint(saved(tmp_path / "part", variables), arch="mobilenet")
    assert report.missing == ("conv1/kernel",)
    assert np.array(partial.get_layer("conv1").kernel).std() > 0.01  # as from scratch, not zero


def test_arrays_of_other_frameworks_become_a_net_too(tmp_path: Path, book: BookNet) -> None:
    variables = {name: value for name, value in book.values.items() if value.shape and "Adam" not in name}
    np.savez(tmp_path / "book.npz", **variables)
    model, _ = load_checkpoint(tmp_path / "book.npz", activation="elu")
    np.testing.assert_allclose(model(book.x), book.logits, rtol=1e-4, atol=1e-4)
    original = keras.applications.MobileNet(weights=None)
    kernels = {each.path: np.array(each) for each in original.weights if each.path.startswith("conv_pw")}
    turned = {name: value.transpose(3, 2, 0, 1) if value.ndim == 4 else value for name, value in kernels.items()}
    np.savez(tmp_path / "net.npz", **turned)
    model, report = load_checkpoint(
        tmp_path / "net.npz", arch="mobilenet", include="conv_pw", layout={"conv_pw": "OIHW->HWIO"}
    )
    np.testing.assert_array_equal(model.get_layer("conv_pw_9").kernel, original.get_layer("conv_pw_9").kernel)
    assert set(report.loaded) == set(kernels)
    assert model.predict(np.zeros((1, 224, 224, 3)), verbose=0).shape == (1, 1000)


@pytest.mark.parametrize("kind", ["json", "keras"])
def test_a_definition_of_the_users_is_filled(tmp_path: Path, kind: str) -> None:
    original, definition = mobilenet(), tmp_path / f"net.{kind}"
    other = mobilenet()
    if kind == "json":
        definition.write_text(other.to_json())
    else:
        other.save(definition)
    variables = {each.path: np.array(each) for each in original.weights if not each.path.startswith("conv_preds")}
    prefix = saved(tmp_path / "net", variables)
    model, report = load_checkpoint(prefix, definition=definition)
    assert report.missing == ("conv_preds/kernel", "conv_preds/bias")
    np.testing.assert_array_equal(model.get_layer("conv_pw_9").kernel, original.get_layer("conv_pw_9").kernel)
    if kind == "keras":
        np.testing.assert_array_equal(model.get_layer("conv_preds").kernel, other.get_layer("conv_preds").kernel)


def test_object_checkpoints_of_keras_2_go_into_a_definition(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    layers = [
        tf_keras.layers.Dense(width, activation="elu", name=name) for name, width in (("hidden1", 5), ("outputs", 2))
    ]
    original = tf_keras.Sequential([tf_keras.Input((4,)), *layers])
    original.save_weights(str(tmp_path / "weights.ckpt"))
    (tmp_path / "net.json").write_text(original.to_json())
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    model, _ = load_checkpoint(tmp_path / "weights.ckpt", definition=tmp_path / "net.json")
    np.testing.assert_allclose(model(x), original(x), rtol=1e-5, atol=1e-6)
    chain, _ = load_checkpoint(tmp_path / "weights.ckpt", activation="elu")
    dense = keras.Model(chain.input, chain.get_layer("outputs").output)
    assert dense.output_shape == (None, 2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"arch": "vgg61"}, "architecture of keras.applications or of TF-Slim; got 'vgg61'.*vgg16"),
        ({"arch": "vgg16", "definition": Path("net.json")}, "one thing that tells the net; got both"),
        ({"definition": Path("net.yaml")}, "a .json or .keras file; got net.yaml"),
        ({"arch": "mobilenet_v2"}, "has none of the variables that are wanted"),
    ],
)
def test_what_cannot_be_right_is_refused(book: BookNet, options: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        load_checkpoint(book.prefix, **options)


# --- guards ---


def test_a_hostile_definition_is_refused_unread(tmp_path: Path, book: BookNet) -> None:
    config = keras.Sequential([keras.Input((784,)), keras.layers.Dense(300, name="hidden1")]).to_json()
    definition = tmp_path / "net.json"
    definition.write_text(config.replace('"class_name": "Dense"', '"class_name": "Lambda"'))
    with pytest.raises(UnsafeFileError, match="Lambda"):
        load_checkpoint(book.prefix, definition=definition)
    definition.write_text(config.replace('"units": 300', '"units": 3000000'))
    with pytest.raises(UnsafeFileError, match="asks for 2,355,000,000 weights"):
        load_checkpoint(book.prefix, definition=definition)
    with pytest.raises(NotFoundError, match="no.json"):
        load_checkpoint(book.prefix, definition=tmp_path / "no.json")


def test_an_activation_beside_what_tells_it_is_refused(tmp_path: Path, book: BookNet) -> None:
    last = {"vgg_16/fc8/weights": np.ones((1, 1, 4096, 9), "float32"), "vgg_16/fc8/biases": np.ones(9, "float32")}
    slim = saved(tmp_path / "slim.ckpt", last)
    told: list[tuple[Path, dict[str, Any]]] = [
        (book.prefix, {"arch": "vgg16"}), (book.prefix, {"arch": "net.json"}), (slim, {"arch": "vgg_16"}), (slim, {}),
    ]  # fmt: skip
    for prefix, options in told:
        with pytest.raises(UsageError, match="(vgg|net).*leave --activation"):
            load_checkpoint(prefix, activation="relu", **options)


@pytest.mark.parametrize("damage", ["cut", "lies", "gone"])
def test_a06_a_damaged_checkpoint_is_refused_with_the_files_name_before_tensorflow_opens_it(
    tmp_path: Path, book: BookNet, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / book.prefix.name
    for path in book.prefix.parent.glob(f"{prefix.name}.*"):
        shutil.copy(path, tmp_path)
    data = prefix.with_name(f"{prefix.name}.data-00000-of-00001")
    if damage == "cut":
        data.write_bytes(data.read_bytes()[:-1000])
    elif damage == "lies":
        prefix.with_name(f"{prefix.name}.index").write_bytes(b"no index")
    else:
        data.unlink()
    opened: list[str] = []
    monkeypatch.setattr(tf.train, "load_checkpoint", opened.append)
    model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(300, name="hidden1")])
    for load in (lambda: load_checkpoint(prefix, activation="elu"), lambda: restore(model, prefix)):
        with pytest.raises((IntegrityError, UnsafeFileError), match=prefix.name):
            load()
    assert opened == []


def test_files_of_other_kinds_pass_their_guards_first(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="fc")])
    np.savez(tmp_path / "net.npz", **{"fc/kernel": np.ones((2, 2))})
    with pytest.warns(UserWarning, match="fc/bias.*rename"):
        assert restore(model, tmp_path / "net.npz").missing == ("fc/bias",)
    np.savez(tmp_path / "objects.npz", **{"fc/kernel": np.array([print], object)})
    with pytest.raises(UnsafeFileError, match="Python objects"):
        restore(model, tmp_path / "objects.npz")
    model.save_weights(tmp_path / "net.weights.h5")
    assert restore(model, tmp_path / "net.weights.h5").loaded == ("fc/kernel", "fc/bias")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "net.weights.h5").read_bytes()[:-100])
    with pytest.raises(IntegrityError, match="cut.h5"):
        restore(model, tmp_path / "cut.h5")
    with pytest.raises(NotFoundError, match="nothing.ckpt"):
        restore(model, tmp_path / "nothing.ckpt")


def test_adams_state_and_the_number_of_steps_let_training_go_on_as_if_it_had_not_stopped(book: BookNet) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.import_meta_graph(f"{book.prefix}.meta").restore(session, str(book.prefix))
        session.run("train/Adam", {"X:0": book.x, "y:0": book.y})
        expected = {each.op.name: session.run(each) for each in v1.global_variables()}
    model, _ = load_checkpoint(book.prefix, activation="elu")
    adam = keras.optimizers.Adam(0.001, epsilon=1e-8)
    adam.build(model.trainable_variables)
    state = {each.name: each for each in adam.variables}
    with opened_source(book.prefix) as source:
        state["iteration"].assign(source.read("global_step"))
        for name in (each.path for each in model.trainable_variables):
            state[f"{name.replace('/', '_')}_momentum"].assign(source.read(f"{name}/Adam"))
            state[f"{name.replace('/', '_')}_velocity"].assign(source.read(f"{name}/Adam_1"))
    model.compile(adam, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(book.x, book.y)
    assert int(adam.iterations.numpy()) == int(expected["global_step"]) == 21
    for variable in model.trainable_variables:
        before, after = book.values[variable.path], expected[variable.path]
        moved = np.abs(after - before).max()
        np.testing.assert_allclose(np.array(variable), after, rtol=0, atol=0.01 * moved, err_msg=variable.path)

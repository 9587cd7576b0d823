"""`zoo convert` and `zoo export`, and the one call in Python that each is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result
from zoo.cli.main import cli

import zoo
from zoo.errors import IntegrityError, UsageError

X = np.random.default_rng(0).standard_normal((3, 12, 10, 3)).astype(np.float32)


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.fixture
def net() -> keras.Model:
    keras.utils.set_random_seed(3)
    image = keras.Input((12, 10, 3), name="picture")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="c1")(image)
    x = keras.layers.BatchNormalization(name="b1")(x)
    x = keras.layers.Flatten(name="flat")(x)
    model = keras.Model(image, keras.layers.Dense(5, activation="softmax", name="classes")(x), name="net")
    model.save("net.keras")
    return model


def outputs(path: str) -> Any:
    """Returns what a model makes of X, run by the format's own runtime."""
    if path.endswith(".onnx"):
        return onnxruntime.InferenceSession(Path(path).read_bytes()).run(None, {"picture": X})[0]
    if path.endswith(".keras"):
        return zoo.load_model(path).predict(X, verbose=0)
    if path.endswith(".tflite"):
        runner = tf.lite.Interpreter(model_path=path).get_signature_runner()
        return runner(picture=X)["output_0"]
    loaded = tf.saved_model.load(path)
    return loaded.serve(X).numpy()


@pytest.mark.parametrize("target", ["out.onnx", "out.keras", "out.tflite", "out"])
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
def test_convert_writes_what_the_suffix_says_and_ends_with_a_parity_line(target: str, net: keras.Model) -> None:
    result = run("convert", "net.keras", target)

    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith("parity")
    assert np.abs(outputs(target) - net.predict(X, verbose=0)).max() < 1e-5
    assert sorted(path.name for path in Path().iterdir()) == sorted(["net.keras", target])


def test_there_and_back_in_one_json_document(net: keras.Model) -> None:
    there = json.loads(run("convert", "net.keras", "net.onnx", "--json").stdout)
    back = json.loads(run("convert", "net.onnx", "back.keras", "--json").stdout)

    assert (there["format"], there["path"], there["read"]) == ("ONNX", "net.onnx", None)
    assert there["written"]["operators"]["BatchNormalization"] == 1
    assert there["bytes"] == Path("net.onnx").stat().st_size
    assert set(back["parity"]["steps"]) == {"ONNX to Keras", "Keras to Keras archive"}
    assert back["parity"]["error"] < 1e-5
    assert there["parameters"] == back["parameters"] == net.count_params()
    assert np.abs(outputs("back.keras") - net.predict(X, verbose=0)).max() < 1e-5


def test_what_is_there_is_replaced_only_where_that_was_said(net: keras.Model) -> None:
    Path("out.onnx").write_bytes(b"before")
    result = run("convert", "net.keras", "out.onnx")
    assert result.exit_code == 2
    assert "--replace" in result.stderr
    assert Path("out.onnx").read_bytes() == b"before"

    assert run("convert", "net.keras", "out.onnx", "--replace").exit_code == 0
    assert Path("out.onnx").stat().st_size > len(b"before")


def test_a_folder_that_is_no_model_is_never_replaced(net: keras.Model) -> None:
    Path("pictures").mkdir()
    Path("pictures/cat.jpg").touch()
    result = run("convert", "net.keras", "pictures", "--replace")

    assert result.exit_code == 2
    assert Path("pictures/cat.jpg").exists()


def test_a_saved_model_gives_way_to_another(net: keras.Model) -> None:
    assert run("convert", "net.keras", "out").exit_code == 0
    net.get_layer("classes").bias.assign(np.arange(5))
    zoo.export(net, "out", replace=True)

    assert np.abs(outputs("out") - net.predict(X, verbose=0)).max() < 1e-5
    assert sorted(path.name for path in Path().iterdir()) == ["net.keras", "out"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["net.keras", "out.pb"], 2, ".tflite"),
        (["net.pth", "out.onnx"], 2, "source that ends with"),
        (["nothing.keras", "out.onnx"], 3, "no nothing.keras"),
        (["nothing.onnx", "out.keras"], 3, "no nothing.onnx"),
        (["net.keras", "out.onnx", "--opset", "99"], 2, "13<=x<=18"),
        (["net.keras", "out.onnx", "--limit", "1e-12"], 4, "differs from the original"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(words: list[str], code: int, told: str, net: keras.Model) -> None:
    result = run("convert", *words)

    assert result.exit_code == code, result.stderr
    assert told in result.stderr
    assert [path.name for path in Path().iterdir()] == ["net.keras"]


def test_what_differs_in_a_format_of_tensorflow_leaves_nothing(
    net: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime that errs: there is none at hand that does so by itself."""
    import zoo.exporting

    write, _ = zoo.exporting.WAYS[""]
    monkeypatch.setitem(zoo.exporting.WAYS, "", (write, lambda *_: [np.zeros((2, 5), np.float32)]))
    with pytest.raises(IntegrityError, match="Nothing was written"):
        zoo.convert("net.keras", "out")

    assert [path.name for path in Path().iterdir()] == ["net.keras"]


def test_export_of_a_model_by_its_name() -> None:
    result = run("export", "letters-cnn", "letters.onnx")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith("parity")
    session = onnxruntime.InferenceSession(Path("letters.onnx").read_bytes())
    x = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    found = session.run(None, {session.get_inputs()[0].name: x})[0]
    assert np.abs(found - zoo.load_model("letters-cnn").predict(x, verbose=0)).max() < 1e-5


def test_export_of_a_run_takes_its_preprocessing_along() -> None:
    made = zoo.transfer(reuse=3, freeze=3, epochs=1, train_per_class=5)
    result = run("export", made.path.name, "digits.onnx", "--json")

    assert result.exit_code == 0, result.stderr
    session = onnxruntime.InferenceSession(Path("digits.onnx").read_bytes())
    (given,) = session.get_inputs()
    x = np.random.default_rng(0).integers(0, 17, (4, *made.record["input"]["shape"])).astype(np.float32)
    found = session.run(None, {given.name: x})[0]
    assert np.abs(found - [each.probabilities for each in made.predict(x)]).max() < 1e-5
    assert Path("digits.onnx").stat().st_size == json.loads(result.stdout)["bytes"]
    assert made.export("same.keras").error == 0


def test_nothing_is_loaded_for_a_target_that_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"\.tflite"):
        zoo.export("no-such-model", "out.pb")


def test_a_part_of_an_onnx_file_with_told_sizes() -> None:
    made = [("GlobalAveragePool", "x", "g"), ("Flatten", "g", "f"), ("Bogus", "f", "y")]
    nodes = [onnx.helper.make_node(operator, [x], [y], y) for operator, x, y in made]
    told = onnx.helper.make_tensor_value_info("x", 1, ["n", 3, "h", "w"])
    last = onnx.helper.make_tensor_value_info("y", 1, None)
    sets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph(nodes, "net", [told], [last]), opset_imports=sets, ir_version=8),
        "net.onnx",
    )

    done = run("convert", "net.onnx", "net.keras", "--until", "f", "--shape", "x=?,3,8,6")
    assert done.exit_code == 0, done.output
    assert keras.models.load_model("net.keras").input_shape == (None, 8, 6, 3)


@pytest.mark.parametrize("told", ["x", "x=", "x=3,a", "=3", "x=0,3"])
def test_sizes_that_are_none_are_refused(told: str) -> None:
    done = run("convert", "net.onnx", "net.keras", "--shape", told)
    assert done.exit_code == 2
    assert "Expected NAME=?,3,224,224" in done.output


def test_sizes_of_one_input_are_told_once() -> None:
    done = run("convert", "net.onnx", "net.keras", "--shape", "x=?,3", "--shape", "x=?,4")
    assert done.exit_code == 2
    assert "got 'x' twice" in done.output


def test_a_limit_that_is_no_number_is_refused(net: keras.Model) -> None:
    done = run("convert", "net.keras", "out.onnx", "--limit", "nan")
    assert done.exit_code == 2
    assert "Expected limit (--limit)" in done.stderr


def test_an_operator_that_is_not_known_is_refused_with_the_words_that_convert_what_is_below() -> None:
    nodes = [onnx.helper.make_node(*each) for each in (("Relu", ["x"], ["r"], "a r"), ("Bogus", ["r"], ["y"], "b"))]
    told = [onnx.helper.make_tensor_value_info(name, 1, ["n", 3]) for name in "xy"]
    made = onnx.helper.make_graph(nodes, "net", told[:1], told[1:])
    onnx.save(onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), "net.onnx")

    done = run("convert", "net.onnx", "net.keras")
    assert done.exit_code == 4
    assert "zoo convert --until 'a r'" in done.stderr
    assert run("convert", "net.onnx", "net.keras", "--until", "a r").exit_code == 0


@pytest.mark.parametrize("name", ["nosuch", "runs/nosuch"])
def test_export_of_what_is_nowhere_tells_of_runs_and_of_models(name: str) -> None:
    Path("runs/nosuch2").mkdir(parents=True)
    Path("runs/nosuch2/run.json").touch()
    done = run("export", name, "x.onnx")

    assert done.exit_code == 3
    assert "No run at runs/nosuch. Did you mean nosuch2? See: zoo runs." in done.stderr
    assert f"No model named '{name}' in the registry" in done.stderr
    assert list(Path().iterdir()) == [Path("runs")]

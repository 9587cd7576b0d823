"""`zoo add` and `zoo convert` of what TensorFlow has saved, and of arrays: every option of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from book_net import BookNet, trained_book_net
from click.testing import CliRunner, Result
from zoo.cli.main import cli

import zoo

CHANCE = np.random.default_rng(0)
SIZES = {"hidden1": (6, 5), "hidden2": (5, 4), "outputs": (4, 3)}
X = CHANCE.normal(size=(3, 6)).astype("float32")


def run(*words: Any) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def done(*words: Any) -> Result:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> BookNet:
    return trained_book_net(tmp_path_factory.mktemp("book"), steps=1)


@pytest.fixture
def arrays() -> dict[str, Any]:
    """A net of another framework: its names are others, its kernels lie the other way, and another net is beside it."""
    values = {name: CHANCE.normal(size=shape).astype("float32") for name, shape in SIZES.items()}
    saved = {f"net.{name}.weight": value.T for name, value in values.items()}
    saved |= {"critic.fc.weight": np.ones((9, 8), "float32")}
    np.savez("net.npz", **saved)
    return values


def expected(values: dict[str, Any], *names: str) -> Any:
    x = X
    for name in names:
        x = x @ values[name]
        x = x if name == "outputs" else np.maximum(x, 0)
    return x


RENAMED = ("--rename", r"^net[.](\w+)[.]weight=\1/kernel", "--layout", "(hidden|outputs).*=OI->IO")


def test_arrays_are_renamed_turned_and_left_away(arrays: dict[str, Any]) -> None:
    told = done("add", "net.npz", "--activation", "relu", "--exclude", "critic", *RENAMED)
    done("add", "net.npz", "--name", "lower", "--activation", "relu", "--include", "hidden[12]", "--exclude", "critic",
         *RENAMED)  # fmt: skip

    np.testing.assert_allclose(zoo.load_model("net")(X), expected(arrays, *SIZES), rtol=1e-5)
    np.testing.assert_allclose(zoo.load_model("lower")(X), expected(arrays, "hidden1", "hidden2"), rtol=1e-5)
    assert "Restored: 3 of the model's variables loaded" in told.stderr
    assert "1 of the source unused (critic.fc.weight)" in told.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rename", "no-equals-sign"), "Expected NAME=VALUE"),
        (("--include", "net.hidden[12]"), "(--arch vgg16, or"),
        (("--activation", "relu", "--include", "hiden"), "'hiden' matches none"),
        (("--activation", "relu", "--layout", "hidden.*=OI->XY"), "'OI->XY'"),
        (("--input", "X:0"), "--input X:0 (tensors) is for SavedModel"),
        (("--output", "scores"), "--output (outputs) is for SavedModel"),
        (("--signature", "serve"), "--signature (signature) is for SavedModel"),
        (("--shape", "x=?,6"), "--shape (shapes) is for SavedModel"),
        (("--limit", "0.1"), "--limit (limit) is for SavedModel"),
        (("--allow-partial",), "nothing tells which net"),
    ],
)
@pytest.mark.usefixtures("arrays")
def test_no_option_is_taken_and_dropped(words: tuple[str, ...], message: str) -> None:
    result = run("add", "net.npz", *words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert zoo.list_models(source="local") == []


def test_a_graph_is_taken_between_tensors(book: BookNet) -> None:
    told = done("add", book.prefix, "--name", "dnn", "--input", "X:0", "--output", "dnn/hidden3/Elu:0")
    done("convert", book.prefix, "part.keras", "--input", "X:0", "--output", "dnn/hidden3/Elu:0")
    for part, target in ((".meta", "whole.keras"), (".index", "whole.onnx")):
        done("convert", f"{book.prefix}{part}", target)

    assert "parity" in told.stderr
    below = np.asarray(zoo.load_model("dnn")(book.x))
    assert below.shape == (200, 50)
    np.testing.assert_allclose(zoo.load_model("part.keras")(book.x), below, atol=1e-5)
    for name in ("whole.keras", "whole.onnx"):
        np.testing.assert_allclose(zoo.load_model(name)(book.x), book.logits, atol=1e-4)


def test_what_cannot_be_tells_an_option_that_is_there(book: BookNet, tmp_path: Path) -> None:
    for path in book.prefix.parent.glob(f"{book.prefix.name}.*"):
        if path.suffix != ".meta":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    alone = run("convert", tmp_path / book.prefix.name, "net.keras")
    strict = run("add", book.prefix, "--limit", "1e-12")
    misfit = run("add", book.prefix, "--shape", "X=?,5")

    assert alone.exit_code == 3
    assert f"zoo add {tmp_path / book.prefix.name} --arch NET" in alone.stderr
    assert strict.exit_code == 4
    assert "--limit" in strict.stderr
    assert misfit.exit_code == 2
    assert "--shape" in misfit.stderr


@pytest.fixture
def served() -> tf.Module:
    """A SavedModel with two signatures, one of which has two outputs."""
    module = tf.Module()
    module.kernel = tf.Variable(CHANCE.normal(size=(6, 3)), dtype=tf.float32, name="fc/kernel")
    sizes = [tf.TensorSpec((None, 6), tf.float32, name="x")]
    module.one = tf.function(lambda x: {"scores": x @ module.kernel}, input_signature=sizes)
    module.two = tf.function(
        lambda x: {"twice": 2 * (x @ module.kernel), "most": tf.nn.relu(x @ module.kernel)}, input_signature=sizes
    )
    tf.saved_model.save(module, "served", signatures={"one": module.one, "two": module.two})
    return module


@pytest.mark.filterwarnings("ignore")
def test_signatures_and_their_outputs_are_named(served: Any) -> None:
    done("add", "served", "--name", "one", "--signature", "one", "--limit", "1e-3")
    done("convert", "served", "twice.keras", "--signature", "two", "--output", "twice", "--shape", "x=?,6")
    unsaid = [run("add", "served"), run("convert", "served", "net.keras"), run("add", "served", "--signature", "three")]

    scores = X @ served.kernel.numpy()
    np.testing.assert_allclose(zoo.load_model("one")(X), scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(zoo.load_model("twice.keras")(X), 2 * scores, rtol=1e-5, atol=1e-6)
    assert [each.exit_code for each in unsaid] == [2, 2, 2]
    assert all("'one', 'two'" in " ".join(each.stderr.split()) for each in unsaid)
    with pytest.raises(zoo.errors.UsageError, match="zoo add .*served --name NAME, with --signature"):
        zoo.load_model(Path("served"))

"""Parts of the way from any graph to a plain one: branches, dropout, ends, scopes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_models import v1
from zoo.converters.tensorflow.branches import inference_value, take_branches, with_known, without_dropout
from zoo.converters.tensorflow.ends import found_output, named_tensors, refuse_missing
from zoo.converters.tensorflow.graphs import by_name, imported, in_order, maker, needed
from zoo.converters.tensorflow.inlining import without_calls
from zoo.converters.tensorflow.scopes import Scopes

from zoo.errors import IntegrityError, NotConvertible, UsageError


def known(node: Any) -> bool:
    return inference_value(node) is not None


def run(graph: Any, output: str, given: dict[str, Any]) -> Any:
    with v1.Session(graph=imported(graph)) as session:
        return session.run(output, given)


@pytest.mark.parametrize("is_old", [True, False])
@pytest.mark.parametrize("value", [True, False])
def test_of_a_branch_on_what_is_known_one_way_stays(is_old: bool, value: bool) -> None:
    (v1.disable_control_flow_v2 if is_old else v1.enable_control_flow_v2)()
    try:
        with tf.Graph().as_default() as made:
            x = v1.placeholder(tf.float32, (None,), name="x")
            training = v1.placeholder(tf.bool, (), name="training")
            both = tf.logical_or(tf.logical_not(training), tf.constant(False))
            inner = lambda: v1.cond(training, lambda: x + 5.0, lambda: tf.constant([7.0]) * x)  # noqa: E731
            tf.identity(v1.cond(both, inner, lambda: x - 1.0), name="y")
    finally:
        v1.enable_control_flow_v2()
    whole = made.as_graph_def()
    graph = needed(whole, ["y:0"], waiting=True)
    with_known(graph, {"training": value})
    while take_branches(graph):
        graph = without_calls(needed(graph, ["y:0"], waiting=True))
    graph = needed(graph, ["y:0"])
    assert not {node.op for node in graph.node} & {"Switch", "Merge", "If", "StatelessIf"}
    given = np.array([3.0], "f4")
    expected = run(whole, "y:0", {"x:0": given, "training:0": value})
    np.testing.assert_array_equal(run(graph, "y:0", {"x:0": given}), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["old", "new", "stateless"])
def test_dropout_is_left_away_with_its_scale(way: str) -> None:
    with tf.Graph().as_default() as made:
        x = v1.placeholder(tf.float32, (None, 4), name="x")
        h = {
            "old": lambda: v1.nn.dropout(x * 3.0, keep_prob=0.5),
            "new": lambda: tf.nn.dropout(x * 3.0, 0.5),
            "stateless": lambda: tf.nn.experimental.stateless_dropout(x * 3.0, 0.5, seed=(1, 2)),
        }[way]()
        tf.identity(h, name="y")
    graph = needed(made.as_graph_def(), ["y:0"])
    assert without_dropout(graph) == 1
    given = np.ones((2, 4), "f4")
    np.testing.assert_array_equal(run(needed(graph, ["y:0"]), "y:0", {"x:0": given}), given * 3)


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "value"),
    [
        ("is_training", tf.bool, (), False), ("phase_train", tf.bool, None, False), ("inference", tf.bool, (), True),
        ("keep_prob", tf.float32, (), 1.0), ("dropout_rate", tf.float32, (), 0.0), ("X", tf.float32, (None, 3), None),
        ("scale", tf.float32, (), None), ("keep", tf.float32, (4,), None), ("X", tf.float32, None, None),
    ],
)  # fmt: skip
def test_what_a_placeholder_is_in_inference(name: str, dtype: Any, shape: Any, value: Any) -> None:
    with tf.Graph().as_default() as made:
        v1.placeholder(dtype, shape, name=f"net/{name}")
    (node,) = made.as_graph_def().node
    assert inference_value(node) is value or inference_value(node) == value != None  # noqa: E711


def test_a_default_counts_but_for_what_trains() -> None:
    with tf.Graph().as_default() as made:
        v1.placeholder_with_default(True, (), name="flip")
        v1.placeholder_with_default(True, (), name="train")
    graph = made.as_graph_def()
    values = {each.name: inference_value(each) for each in graph.node if each.op == "PlaceholderWithDefault"}
    assert values == {"flip": None, "train": False}
    with_known(graph, {"train": False})
    assert (run(graph, "flip:0", {}), run(graph, "train:0", {})) == (True, False)


def weighted(x: Any, units: int, name: str) -> Any:
    with v1.name_scope(name):
        return tf.matmul(x, v1.get_variable(f"{name}/w", (x.shape[1], units)))


def test_two_nets_in_one_graph_are_told_apart_by_their_user() -> None:
    with tf.Graph().as_default() as made:
        x = v1.placeholder(tf.float32, (None, 4), name="x")
        for name in ("left", "right"):
            y = weighted(weighted(x, 3, name), 2, f"{name}_out")
            v1.nn.softmax_cross_entropy_with_logits_v2(labels=v1.placeholder(tf.float32, (None, 2)), logits=y)
    with pytest.raises(UsageError, match=r"left_out.*--output right_out/MatMul:0"):
        found_output(made.as_graph_def(), known)


def test_a_branch_that_only_helps_to_train_is_not_the_end() -> None:
    with tf.Graph().as_default() as made:
        x = v1.placeholder(tf.float32, (None, 4), name="x")
        y = v1.placeholder(tf.int32, (None,), name="y")
        h = weighted(x, 3, "first")
        for logits in (weighted(h, 2, "aux"), weighted(weighted(h, 3, "second"), 2, "main")):
            v1.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
    assert found_output(made.as_graph_def(), known) == "main/MatMul:0"


def test_without_a_loss_a_net_ends_in_its_last_activation() -> None:
    with tf.Graph().as_default() as made:
        x = v1.placeholder(tf.float32, (None, 4), name="x")
        y = tf.nn.softmax(weighted(x, 3, "only") + 1.0, name="probabilities")
        tf.argmax(y, 1)
        v1.summary.histogram("seen", y)
    assert found_output(made.as_graph_def(), known) == "probabilities:0"


def test_a_graph_without_a_net() -> None:
    with tf.Graph().as_default() as made:
        tf.nn.relu(v1.placeholder(tf.float32, (None, 4), name="x"))
    with pytest.raises(NotConvertible, match="no net"):
        found_output(made.as_graph_def(), known)


def test_the_order_of_nodes() -> None:
    with tf.Graph().as_default() as made:
        tf.identity(v1.while_loop(lambda x: x < 10, lambda x: x * 2 + 1, [v1.placeholder(tf.int32, (), name="x")]))
    order = [node.name for node in in_order(made.as_graph_def())]
    nodes = by_name(made.as_graph_def())
    assert sorted(order) == sorted(nodes)
    for place, name in enumerate(order):
        assert all(
            maker(each) in order[:place] or nodes[maker(each)].op == "NextIteration" for each in nodes[name].input
        )


@pytest.mark.parametrize(
    ("kernels", "name", "layer"),
    [
        (["dnn/hidden1/MatMul", "dnn/outputs/MatMul"], "dnn/hidden1/BiasAdd", ("hidden1", "BiasAdd")),
        (["a/net_1/conv_1/Conv2D", "a/net_1/fc_1/MatMul"], "a/net_1/conv_1/BiasAdd/x__12", ("conv/BiasAdd", "x")),
        (["net/dense/MatMul", "net/dense_1/MatMul"], "net/dense_1/Relu:0", ("dense_1", "Relu")),
        (["MatMul", "MatMul_1"], "MatMul_1", ("", "MatMul_1")),
        (["net/c/Conv2D", "net/d/MatMul"], "net/bn/batchnorm/add_1", ("bn", "batchnorm/add_1")),
        (["net/c/Conv2D", "net/d/MatMul"], "Transpose__7", ("", "Transpose")),
    ],
)
def test_scopes_tell_layers(kernels: list[str], name: str, layer: tuple[str, str]) -> None:
    assert Scopes(kernels).split(name) == layer


def calling(body: Any) -> Any:
    """Returns a graph with a function that calls another, and that one `body`."""
    inner = tf.function(body, input_signature=[tf.TensorSpec((), tf.float32)])
    outer = tf.function(lambda x: inner(x) * inner(x + 1), input_signature=[tf.TensorSpec((), tf.float32)])
    with tf.Graph().as_default() as made:
        tf.identity(outer(v1.placeholder(tf.float32, (), name="x")), name="y")
    return made.as_graph_def()


def test_functions_are_written_out() -> None:
    graph = without_calls(needed(calling(lambda x: x * 3), ["y:0"]))
    assert not {"PartitionedCall", "StatefulPartitionedCall"} & {node.op for node in graph.node}
    assert run(needed(graph, ["y:0"]), "y:0", {"x:0": 2.0}) == 54


def test_a_function_that_calls_itself_is_refused() -> None:
    graph = calling(lambda x: x * 3)
    for function in graph.library.function:
        for node in function.node_def:
            if "f" in node.attr:
                node.attr["f"].func.name = function.signature.name
    with pytest.raises(NotConvertible, match="in a circle"):
        without_calls(graph)


def test_a_chain_of_conditions_is_followed_once() -> None:
    with tf.Graph().as_default() as made:
        x = v1.placeholder(tf.float32, (None,), name="x")
        both = tf.constant(True)
        for _ in range(2000):
            both = tf.identity(tf.logical_and(both, both))
        v1.disable_control_flow_v2()
        try:
            tf.identity(v1.cond(both, lambda: x + 5.0, lambda: x - 1.0), name="y")
        finally:
            v1.enable_control_flow_v2()
    graph = needed(made.as_graph_def(), ["y:0"], waiting=True)
    take_branches(graph)
    graph = needed(graph, ["y:0"])
    assert not {node.op for node in graph.node} & {"Switch", "Merge", "Sub"}
    np.testing.assert_array_equal(run(graph, "y:0", {"x:0": np.array([3.0], "f4")}), [8.0])


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "value"),
    [
        ("heart_rate", tf.float32, (), None), ("rate", tf.float32, (), None), ("generated", tf.float32, (), None),
        ("keep_prob", tf.float32, None, 1.0), ("dropoutRate", tf.float32, (), 0.0), ("flag", tf.bool, (), None),
        ("isTraining", tf.bool, None, False), ("phase_train", tf.bool, (), False), ("inference", tf.bool, (), True),
    ],
)  # fmt: skip
def test_an_input_that_a_signature_declares_is_one_unless_it_says_that_it_trains(
    name: str, dtype: Any, shape: Any, value: Any
) -> None:
    with tf.Graph().as_default() as made:
        v1.placeholder(dtype, shape, name=name)
        v1.placeholder(dtype, shape, name=f"other/Placeholder_{len(name)}")
    named, unnamed = made.as_graph_def().node
    for node, declared in ((named, "x"), (unnamed, name)):
        found = inference_value(node, declared)
        assert found is value or found == value != None  # noqa: E711


@pytest.mark.parametrize("name", ["heart_rate", "generated", "strain", "market"])
def test_only_whole_words_tell_what_a_placeholder_is(name: str) -> None:
    with tf.Graph().as_default() as made:
        v1.placeholder(tf.float32, (), name=name)
        v1.placeholder(tf.bool, None, name=f"is_{name}")
    assert [inference_value(node) for node in made.as_graph_def().node] == [None, None]


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ("y:1", "'y' .Identity. makes y:0"),
        ("parts:3", "makes parts:0 to parts:2"),
        ("nothing", "nothing comes out of 'nothing'"),
        ("y:first", "makes y:0"),
        ("z", "it has no 'z'"),
    ],
)
def test_a_tensor_that_is_not_there_is_told(tensor: str, words: str) -> None:
    with tf.Graph().as_default() as made:
        x = v1.placeholder(tf.float32, (6,), name="x")
        tf.split(x, 3, name="parts")
        tf.identity(x, name="y")
        tf.no_op(name="nothing")
    graph = made.as_graph_def()
    assert named_tensors(graph, ["y", "parts:2"], "an output") == ["y:0", "parts:2"]
    with pytest.raises(UsageError, match=words):
        named_tensors(graph, [tensor], "an output")
    with pytest.raises(IntegrityError, match=rf"'scores' of the signature 'serve' .*{words}"):
        refuse_missing(graph, {"scores": tensor}, "serve")

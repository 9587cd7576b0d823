"""Operations of TensorFlow's graphs: all that ordinary models have pass; what opens files or runs code does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from google.protobuf import text_format
from model_files import field, file_of, saved_by_tensorflow_1, saved_model
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry
from tensorflow_graphs import (
    HARMFUL,
    add_node,
    constant,
    edited,
    edited_meta,
    frozen_graph,
    function_named,
    function_with,
    harmful_function,
    harmful_graph,
    loops,
    node,
    node_with,
    of_type,
    saved_again,
    saved_with_meta,
    simple_saved,
    text_module,
    text_module_1,
    v1,
)

from zoo.errors import IntegrityError, UnsafeFileError, ZooError
from zoo.store.guards.checkpoints import check_checkpoint
from zoo.store.guards.formats import check_format, recognise
from zoo.store.guards.graph_operations import refuse_unsafe_operations
from zoo.store.guards.saved_models import check_saved_model_folder
from zoo.store.guards.tensorflow_graphs import check_frozen_graph, check_meta_graph
from zoo.store.guards.tensorflow_operations import CHECKPOINT_NAMES, COMPUTING, TABLE_NAMES


def refuses(check: Callable[[Path], object], path: Path, cause: str, error: type[ZooError] = UnsafeFileError) -> str:
    """Asserts that something is refused, by words fit for a terminal; returns these."""
    with pytest.raises(error, match=cause) as caught:
        check(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


# --- the list ---


def test_the_list_has_operations_of_tensorflow_only() -> None:
    unknown = [
        name for name in COMPUTING | CHECKPOINT_NAMES.keys() | TABLE_NAMES.keys() if not op_def_registry.get(name)
    ]
    assert sorted(unknown) == []


def test_no_listed_operation_takes_the_name_of_a_file_or_machine() -> None:
    words = {
        "file",
        "filename",
        "path",
        "dir",
        "directory",
        "url",
        "urls",
        "address",
        "host",
        "vocab",
        "prefix",
        "region",
    }
    found = set()
    for name in COMPUTING:
        told = op_def_registry.get(name)
        names = [each.name for each in (*told.input_arg, *told.attr)]
        found |= {name for each in names if words & set(each.lower().split("_"))}
    assert found <= {"ShardedFilename", "ShardedFilespec", "CudnnRNNBackpropV2", "CudnnRNNBackpropV3"}  # host_reserved


# --- what is refused ---


@pytest.mark.parametrize("place", [harmful_graph, harmful_function], ids=["graph", "function"])
@pytest.mark.parametrize("operation", HARMFUL)
def test_x08_operations_that_do_harm_are_refused(tmp_path: Path, operation: str, place: Callable[..., Path]) -> None:
    canary = file_of(tmp_path / "canary", b"alive")
    folder = place(tmp_path / "net", operation, str(canary))
    for file in ("saved_model.pb", "saved_model.pbtxt"):
        if file.endswith("txt"):
            edited(folder, lambda _: None, is_text=True)
        message = refuses(lambda path: check_format(recognise([path])), folder, operation)
        assert f"{file} " in message
        assert "(node '" in message
        assert place is harmful_graph or "__inference_call" in message
    assert canary.read_bytes() == b"alive"


def test_x08_a_function_that_nobody_calls_is_judged_too(tmp_path: Path) -> None:
    def edit(meta_graph: Any) -> None:
        added = meta_graph.graph_def.library.function.add()
        added.signature.name = "idle"
        add_node(added.node_def, "read", "ReadFile", "x")

    refuses(check_saved_model_folder, edited(saved_model(tmp_path / "net"), edit), "ReadFile .* of its function 'idle'")


@pytest.mark.parametrize("is_list", [False, True])
def test_x08_an_operation_may_not_be_called_as_a_function(tmp_path: Path, is_list: bool) -> None:
    def edit(meta_graph: Any) -> None:
        branch = function_named("ReadFile")
        if is_list:
            branches = v1.AttrValue()
            branches.list.func.add(name="inner").attr["f"].CopyFrom(branch)
            added = meta_graph.graph_def.library.function.add()
            added.signature.name = "inner"
            branch = branches
        add_node(meta_graph.graph_def.node, "choice", "Case", branches=branch)

    folder = edited(saved_model(tmp_path / "net"), edit)
    refuses(check_saved_model_folder, folder, "calls the operation ReadFile .* as a function")


def test_x08_a_function_called_like_an_operation_is_refused(tmp_path: Path) -> None:
    def edit(meta_graph: Any) -> None:
        meta_graph.graph_def.library.function.add().signature.name = "MatMul"

    refuses(check_saved_model_folder, edited(saved_model(tmp_path / "net"), edit), "called like the operation MatMul")


@pytest.mark.parametrize(
    ("nodes", "cause", "error"),
    [
        pytest.param(
            [field(1, "x") + field(2, "NoOp") + field(2, "ReadFile")], "or several", IntegrityError, id="two-operations"
        ),
        pytest.param([field(1, "x") + field(2, "NoOp")] * 2, "two nodes", IntegrityError, id="two-of-one-name"),
        pytest.param([field(1, "x") + field(2, "Frobnicate")], "not on the list", UnsafeFileError, id="unknown"),
        pytest.param([field(1, "x") + field(2, "\x1b[2J")], r"\\x1b\[2J", UnsafeFileError, id="escape"),
    ],
)
def test_x08_graphs_by_hand(tmp_path: Path, nodes: list[bytes], cause: str, error: type[ZooError]) -> None:
    path = file_of(tmp_path / "net.pb", b"".join(field(1, each) for each in nodes))
    refuses(check_frozen_graph, path, cause, error)


def test_x08_graphs_that_protobuf_would_join_are_judged_together(tmp_path: Path) -> None:
    good = field(1, field(1, "x") + field(2, "NoOp"))
    bad = field(2, field(1, field(1, field(1, "f")) + field(3, field(1, "y") + field(2, "WriteFile"))))
    path = file_of(tmp_path / "net.ckpt.meta", field(1, b"") + field(2, good) + field(2, bad))
    refuses(check_meta_graph, path, "WriteFile")


def test_x08_a_second_graph_that_is_text_is_judged_too(tmp_path: Path) -> None:
    folder = harmful_function(tmp_path / "net", "ReadFile", "x")
    edited(folder, lambda _: None, is_text=True)
    other = saved_model(tmp_path / "other")
    (other / "saved_model.pbtxt").write_bytes((folder / "saved_model.pbtxt").read_bytes())
    refuses(check_saved_model_folder, other, r"saved_model\.pbtxt.*ReadFile")


def test_a_second_graph_in_chunks_is_refused(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    file_of(folder / "saved_model.cpb", b"x")
    refuses(check_saved_model_folder, folder, r"second graph \(saved_model\.cpb\)")


# --- savers ---


def _end_of(name: str, *inputs: str) -> Callable[[Any], None]:
    return lambda meta_graph: node(meta_graph, name).input.extend(inputs)


def _rename_file(name: str) -> Callable[[Any], None]:
    def edit(meta_graph: Any) -> None:
        node(meta_graph, "save/filename/input").attr["value"].tensor.string_val[0] = name.encode()

    return edit


def _hide_name(meta_graph: Any) -> None:
    tensor = node(meta_graph, "save/filename/input").attr["value"].tensor
    tensor.tensor_content = b"\x05" + tensor.string_val.pop()


def _name_by(operation: str, of: str) -> Callable[[Any], None]:
    def edit(meta_graph: Any) -> None:
        add_node(meta_graph.graph_def.node, "made", operation, of, T=of_type(tf.string))
        node(meta_graph, "save/SaveV2").input[0] = "made"

    return edit


def _save_by_itself(meta_graph: Any) -> None:
    nodes = meta_graph.graph_def.node
    constant(nodes, "place", "/etc/passwd")
    add_node(nodes, "more", "SaveV2", "place", "place", "place", "logits")


def _save_what_is_computed(meta_graph: Any) -> None:
    node(meta_graph, "save/SaveV2").input.append("logits")


def _collect(meta_graph: Any) -> None:
    meta_graph.collection_def["train_op"].node_list.value.append("save/restore_all")


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        pytest.param(_end_of("logits", "^save/SaveV2"), "waits for the operation SaveV2", id="output"),
        pytest.param(_end_of("loss", "^save/RestoreV2"), "waits for the operation RestoreV2", id="loss-that-reads"),
        pytest.param(_rename_file("/etc/cron.d/x"), "opens '/etc/cron.d/x'", id="absolute"),
        pytest.param(_rename_file("a/../../x"), "opens 'a/../../x'", id="outside"),
        pytest.param(_hide_name, "cannot be read", id="other-form"),
        pytest.param(_name_by("StringLower", "save/Const"), "made by the operation StringLower", id="computed"),
        pytest.param(_name_by("Identity", "X"), "takes the name of the file", id="input-as-name"),
        pytest.param(_save_by_itself, "opens '/etc/passwd'", id="another-saver"),
        pytest.param(_save_what_is_computed, "waits for the input", id="saves-what-is-computed"),
        pytest.param(_end_of("save/restore_all", "^save/SaveV2"), "restoring .* waits for", id="restoring-writes"),
        pytest.param(_collect, "'save/restore_all', which a signature or a collection names", id="collected"),
        pytest.param(_end_of("save/SaveV2", "nothing:3"), None, id="of-nothing"),
    ],
)
def test_x08_the_saver_of_a_checkpoints_graph_is_used_by_nothing_else(
    tmp_path: Path, edit: Callable[[Any], None], cause: str | None
) -> None:
    prefix = saved_with_meta(tmp_path)
    path = edited_meta(prefix, edit)
    if cause is None:
        check_meta_graph(path)  # TensorFlow refuses such a graph itself
    else:
        assert "move net.ckpt.meta away" in refuses(check_checkpoint, prefix, cause)


def _signature_of_saver(meta_graph: Any) -> None:
    restored = node_with(meta_graph, "RestoreV2")
    meta_graph.signature_def["serving_default"].outputs["y"].name = f"{restored.name}:0"


def _main_op_of_saver(meta_graph: Any) -> None:
    signature = meta_graph.signature_def["__saved_model_init_op"]
    signature.outputs["__saved_model_init_op"].name = meta_graph.saver_def.restore_op_name


@pytest.mark.parametrize("edit", [_signature_of_saver, _main_op_of_saver])
def test_x08_no_signature_leads_to_the_saver(tmp_path: Path, edit: Callable[[Any], None]) -> None:
    folder = edited(simple_saved(tmp_path / "net"), edit)
    refuses(check_saved_model_folder, folder, "which a signature or a collection names, waits for the operation")


def _expose(meta_graph: Any) -> None:
    name = function_with(meta_graph, "SaveV2").signature.name
    meta_graph.object_graph_def.nodes.add().function.concrete_functions.append(name)


def _expose_bare(meta_graph: Any) -> None:
    name = function_with(meta_graph, "RestoreV2").signature.name
    meta_graph.object_graph_def.nodes.add().bare_concrete_function.concrete_function_name = name


def _expose_by_key(meta_graph: Any) -> None:
    name = function_with(meta_graph, "RestoreV2").signature.name
    meta_graph.object_graph_def.concrete_functions[name].bound_inputs.extend([1])


def _call_from_function(meta_graph: Any) -> None:
    name = function_with(meta_graph, "SaveV2").signature.name
    body = function_with(meta_graph, "MatMul")
    add_node(body.node_def, "more", "StatefulPartitionedCall", "x", f=function_named(name))


def _call_by_name(meta_graph: Any) -> None:
    name = function_with(meta_graph, "SaveV2").signature.name
    add_node(function_with(meta_graph, "MatMul").node_def, "more", name, "x")


def _put_in_place(meta_graph: Any) -> None:
    function_with(meta_graph, "SaveV2").attr["api_implements"].s = b"matrix product"


@pytest.mark.parametrize(
    "edit", [_expose, _expose_bare, _expose_by_key, _call_from_function, _call_by_name, _put_in_place]
)
@pytest.mark.parametrize("is_text", [False, True], ids=["protobuf", "text"])
def test_x08_no_function_that_can_be_called_leads_to_the_saver(
    tmp_path: Path, edit: Callable[[Any], None], is_text: bool
) -> None:
    folder = edited(saved_model(tmp_path / "net"), edit, is_text)
    refuses(check_saved_model_folder, folder, "which can be called, leads to the operation (Save|Restore|Merge)")


def test_x08_the_saver_of_a_function_may_not_name_another_file(tmp_path: Path) -> None:
    def edit(meta_graph: Any) -> None:
        body = function_with(meta_graph, "SaveV2")
        constant(body.node_def, "place", "/etc/passwd")
        node_with(meta_graph, "SaveV2", "save").input[0] = "place:output:0"

    refuses(check_saved_model_folder, edited(saved_model(tmp_path / "net"), edit), "opens '/etc/passwd'")


# --- assets ---


def _asset_called(name: str) -> Callable[[Any], None]:
    def edit(meta_graph: Any) -> None:
        meta_graph.asset_file_def[0].filename = name

    return edit


def _asset_in_collection(meta_graph: Any) -> None:
    asset = v1.MetaGraphDef().asset_file_def.add(filename="../../etc/passwd")
    meta_graph.collection_def["saved_model_assets"].any_list.value.add().Pack(asset)


@pytest.mark.parametrize("is_text", [False, True], ids=["protobuf", "text"])
@pytest.mark.parametrize(
    "edit",
    [_asset_called("../../../etc/passwd"), _asset_called("/etc/passwd"), _asset_called("a\\b"), _asset_in_collection],
)
def test_x09_an_asset_outside_of_the_folder_is_refused(
    tmp_path: Path, edit: Callable[[Any], None], is_text: bool
) -> None:
    folder = edited(text_module(tmp_path / "net"), edit, is_text)
    refuses(check_saved_model_folder, folder, "has an asset .* which could lie outside")


def test_x09_whoever_names_the_kind_of_a_collections_asset_it_is_read(tmp_path: Path) -> None:
    folder = edited(text_module(tmp_path / "net"), _asset_in_collection, is_text=True)
    path = folder / "saved_model.pbtxt"
    text = path.read_text()
    assert "[type.googleapis.com/tensorflow.AssetFileDef]" in text
    path.write_text(text.replace("[type.googleapis.com/tensorflow.", "[ elsewhere.org # see\n / tensorflow."))
    refuses(check_saved_model_folder, folder, "which could lie outside")


def test_x09_an_asset_that_is_missing_or_a_link_is_refused(tmp_path: Path) -> None:
    folder = text_module(tmp_path / "net")
    asset = folder / "assets" / "words.txt"
    asset.rename(tmp_path / "words.txt")
    refuses(check_saved_model_folder, folder, "asset 'words.txt' is missing", IntegrityError)
    asset.symlink_to(tmp_path / "words.txt")
    refuses(check_saved_model_folder, folder, "is a link")
    refuses(refuse_unsafe_operations, folder / "saved_model.pb", "is a link")


def _bind_other(meta_graph: Any) -> None:
    objects = meta_graph.object_graph_def
    body = function_with(meta_graph, "InitializeTableFromTextFileV2")
    constant(meta_graph.graph_def.node, "place", "/etc/passwd")
    objects.nodes.add().constant.operation = "place"
    bound = objects.concrete_functions[body.signature.name].bound_inputs
    for at, number in enumerate(bound):
        if objects.nodes[number].WhichOneof("kind") == "asset":
            bound[at] = len(objects.nodes) - 1


def _give_no_object(meta_graph: Any) -> None:
    body = function_with(meta_graph, "InitializeTableFromTextFileV2")
    del meta_graph.object_graph_def.concrete_functions[body.signature.name].bound_inputs[:]


def _fill_from_constant(meta_graph: Any) -> None:
    body = function_with(meta_graph, "InitializeTableFromTextFileV2")
    constant(body.node_def, "place", "/etc/passwd")
    node_with(meta_graph, "InitializeTableFromTextFileV2", body.signature.name).input[1] = "place:output:0"


def _share_variable(meta_graph: Any) -> None:
    nodes = meta_graph.graph_def.node
    placeholder = meta_graph.asset_file_def[0].tensor_info.name.split(":")[0]
    assign = next(each for each in nodes if each.op == "AssignVariableOp" and placeholder in each.input)
    shared = node(meta_graph, assign.input[0]).attr["shared_name"].s.decode()
    add_node(
        nodes, "again", "VarHandleOp", shared_name=v1.AttrValue(s=shared.encode()), dtype=of_type(tf.string)
    )  # fmt: skip
    constant(nodes, "place", "/etc/passwd")
    add_node(nodes, "set", "AssignVariableOp", "again", "place", dtype=of_type(tf.string))


def _assign_another(meta_graph: Any) -> None:
    nodes = meta_graph.graph_def.node
    placeholder = meta_graph.asset_file_def[0].tensor_info.name.split(":")[0]
    assign = next(each for each in nodes if each.op == "AssignVariableOp" and placeholder in each.input)
    constant(nodes, "place", "/etc/passwd")
    add_node(nodes, "set", "AssignVariableOp", assign.input[0], "place", dtype=of_type(tf.string))


@pytest.mark.parametrize("edit", [_bind_other, _give_no_object, _fill_from_constant, _share_variable, _assign_another])
def test_x09_a_table_is_filled_from_an_asset_only(tmp_path: Path, edit: Callable[[Any], None]) -> None:
    folder = edited(text_module(tmp_path / "net"), edit)
    refuses(check_saved_model_folder, folder, "fills a table from .* no asset in the folder")


def _fill_from_other_1(meta_graph: Any) -> None:
    constant(meta_graph.graph_def.node, "place", "/etc/passwd")
    node_with(meta_graph, "InitializeTableFromTextFileV2").input[1] = "place"


def _forget_assets(meta_graph: Any) -> None:
    del meta_graph.asset_file_def[:]
    del meta_graph.collection_def["saved_model_assets"]


def _put_in_for_another(meta_graph: Any) -> None:
    (told,) = meta_graph.collection_def["saved_model_assets"].any_list.value
    asset = v1.MetaGraphDef().asset_file_def.add()
    told.Unpack(asset)
    asset.tensor_info.name = "texts:0"
    told.Pack(asset)


@pytest.mark.parametrize("edit", [_fill_from_other_1, _forget_assets, _put_in_for_another])
def test_x09_so_is_a_table_of_tensorflow_1(tmp_path: Path, edit: Callable[[Any], None]) -> None:
    folder = edited(text_module_1(tmp_path / "net"), edit)
    refuses(check_saved_model_folder, folder, "fills a table from .* no asset in the folder")


def test_x09_no_signature_fills_a_table_when_the_asset_is_not_put_in(tmp_path: Path) -> None:
    def edit(meta_graph: Any) -> None:
        fill = node_with(meta_graph, "InitializeTableFromTextFileV2").name
        node_with(meta_graph, "LookupTableFindV2").input.append(f"^{fill}")

    folder = edited(text_module_1(tmp_path / "net"), edit)
    refuses(check_saved_model_folder, folder, "a signature waits for the operation InitializeTable")


# --- what passes ---


def _keras_3(folder: Path) -> Path:
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Reshape((-1, 4)),
            layers.LSTM(5),
            layers.Dropout(0.5),
            layers.Dense(2, activation="softmax"),
        ]
    )
    net.export(str(folder), verbose=False)
    return folder


def _keras_2(folder: Path) -> Path:
    layers = tf_keras.layers
    net = tf_keras.Sequential(
        [tf_keras.Input((5, 3)), layers.Flatten(), layers.Dense(4), layers.Dropout(0.5), layers.Dense(2)]
    )
    net.compile("adam", "mse")
    net.save(str(folder), save_format="tf")
    return folder


ORDINARY: dict[str, Callable[[Path], Path]] = {
    "module": saved_model,
    "keras-3": _keras_3,
    "keras-2": _keras_2,
    "texts": text_module,
    "texts-of-tensorflow-1": text_module_1,
    "texts-saved-again": lambda folder: saved_again(text_module_1(folder.with_name("before")), folder),
    "loops": loops,
    "tensorflow-1": simple_saved,
    "partitioned": lambda folder: simple_saved(folder, partitions=3),
}


@pytest.mark.parametrize("build", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_saved_models_pass_and_as_text_have_the_same_operations(
    tmp_path: Path, build: Callable[[Path], Path]
) -> None:
    folder = build(tmp_path / "net")
    check_saved_model_folder(folder)
    told = refuse_unsafe_operations(folder / "saved_model.pb")
    model = SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]
    library = model.graph_def.library.function
    nodes = [*model.graph_def.node, *(each for body in library for each in body.node_def)]
    assert told == {each.op for each in nodes} - {body.signature.name for body in library}
    edited(folder, lambda _: None, is_text=True)
    check_saved_model_folder(folder)
    assert refuse_unsafe_operations(folder / "saved_model.pbtxt") == told


@pytest.mark.parametrize(
    "saver",
    [{}, {"sharded": True}, {"write_version": 1}, {"write_version": 1, "sharded": True}, {"reshape": True}],
    ids=["plain", "sharded", "version-1", "sharded-version-1", "reshape"],
)
def test_graphs_beside_checkpoints_pass(tmp_path: Path, saver: dict[str, Any]) -> None:
    saved_with_meta(tmp_path, **saver)
    (path,) = tmp_path.glob("*.meta")
    check_meta_graph(path)


def test_a_graph_with_two_savers_passes(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("kernel", [2, 3])
        v1.train.Saver()
        session.run(v1.global_variables_initializer())
        prefix = Path(v1.train.Saver(sharded=True).save(session, str(tmp_path / "net.ckpt")))
    check_checkpoint(prefix)


@pytest.mark.parametrize("version", [1, 2])
def test_checkpoints_of_tensorflow_1_pass_with_their_graphs(tmp_path: Path, version: int) -> None:
    prefix = saved_by_tensorflow_1(tmp_path, version)
    check_meta_graph(prefix.with_name(f"{prefix.name}.meta"))
    if version == 2:
        check_checkpoint(prefix)


def test_a_frozen_graph_passes(tmp_path: Path) -> None:
    path = frozen_graph(tmp_path / "net.pb")
    check_frozen_graph(path)
    assert refuse_unsafe_operations(path) == {"Const", "Identity", "MatMul", "Placeholder", "Softmax"}


# --- constants ---


def claiming(path: Path, *sizes: int, is_text: bool = False) -> Path:
    """Returns a graph of a few bytes with a constant of these sizes, which one number fills."""
    graph = v1.GraphDef()
    tensor = tf.make_tensor_proto(0.0)
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    add_node(graph.node, "much", "Const", dtype=of_type(tf.float32), value=v1.AttrValue(tensor=tensor))
    if not is_text:
        path.write_bytes(graph.SerializeToString())
        return path
    saved = SavedModel(saved_model_schema_version=1)
    saved.meta_graphs.add(graph_def=graph)
    path.mkdir()
    (path / "saved_model.pbtxt").write_text(text_format.MessageToString(saved))
    return path


def test_a_constant_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    path = claiming(tmp_path / "net.pb", 80_000, 100_000)
    assert path.stat().st_size < 300
    refuses(check_frozen_graph, path, "much.* claims numbers that the file does not have")
    refuses(check_saved_model_folder, claiming(tmp_path / "net", 80_000, 100_000, is_text=True), "much.* claims")


def test_what_constants_of_a_file_claim_together_counts(tmp_path: Path) -> None:
    graph = v1.GraphDef.FromString(claiming(tmp_path / "net.pb", 400_000, 300).read_bytes())
    check_frozen_graph(tmp_path / "net.pb")  # vectors of words that are read later begin like that
    for number in range(3):
        graph.node.add().CopyFrom(graph.node[0])
        graph.node[-1].name = f"much_{number}"
    (tmp_path / "net.pb").write_bytes(graph.SerializeToString())
    refuses(check_frozen_graph, tmp_path / "net.pb", "more than 1,073,741,824 bytes")


def test_a_constant_of_several_values_is_refused(tmp_path: Path) -> None:
    value = of_type(tf.float32).SerializeToString()
    halves = [tf.make_tensor_proto(0.0) for _ in range(2)]
    for each in halves:
        each.tensor_shape.dim.add(size=80_000)
    joined = b"".join(field(8, each.SerializeToString()) for each in halves)  # protobuf makes one shape of both
    attributes = field(1, "value") + field(2, joined), field(1, "dtype") + field(2, value)
    node_ = field(1, "much") + field(2, "Const") + b"".join(field(5, each) for each in attributes)
    path = file_of(tmp_path / "net.pb", field(1, node_))
    assert len(v1.GraphDef.FromString(path.read_bytes()).node[0].attr["value"].tensor.tensor_shape.dim) == 2
    refuses(check_frozen_graph, path, "several values", IntegrityError)


def test_constants_whose_numbers_stand_in_the_file_pass(tmp_path: Path) -> None:
    with tf.Graph().as_default() as made:
        for number, values in enumerate((np.ones((300, 4), "f4"), np.arange(8), ["a", "bc"], np.eye(9) > 0)):
            tf.constant(values, name=f"c{number}")
    (tmp_path / "net.pb").write_bytes(made.as_graph_def().SerializeToString())
    check_frozen_graph(tmp_path / "net.pb")

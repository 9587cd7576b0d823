"""Graphs of TensorFlow that it wrote itself: ordinary ones of every age, ones that do harm, and edits of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

v1 = tf.compat.v1
raw = tf.raw_ops


# --- operations that do harm: what each would do to the file `path` ---

HARMFUL: dict[str, Callable[[Any, str], Any]] = {
    "ReadFile": lambda x, path: raw.ReadFile(filename=path),
    "WriteFile": lambda x, path: raw.WriteFile(filename=path, contents="harm"),
    "EagerPyFunc": lambda x, path: tf.py_function(lambda: Path(path).unlink(), [], []),
    "PyFunc": lambda x, path: tf.numpy_function(lambda: Path(path).unlink(), [], tf.float32),
    "PrintV2": lambda x, path: tf.print(x, output_stream=f"file://{path}"),
    "MatchingFiles": lambda x, path: raw.MatchingFiles(pattern=path),
    "ImmutableConst": lambda x, path: raw.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name=path),
    "SaveV2": lambda x, path: raw.SaveV2(prefix=path, tensor_names=["x"], shape_and_slices=[""], tensors=[x]),
    "RestoreV2": lambda x, path: raw.RestoreV2(
        prefix=path, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
    ),
    "MergeV2Checkpoints": lambda x, path: raw.MergeV2Checkpoints(checkpoint_prefixes=[path], destination_prefix=path),
    "TextLineDataset": lambda x, path: raw.TextLineDataset(filenames=path, compression_type="", buffer_size=0),
    "TFRecordDataset": lambda x, path: raw.TFRecordDataset(filenames=path, compression_type="", buffer_size=0),
    "WholeFileReaderV2": lambda x, path: raw.WholeFileReaderV2(),
    "DebugIdentityV2": lambda x, path: raw.DebugIdentityV2(input=x, debug_urls=[f"file://{path}"]),
    "SummaryWriter": lambda x, path: raw.CreateSummaryFileWriter(
        writer=raw.SummaryWriter(), logdir=path, max_queue=1, flush_millis=1, filename_suffix=""
    ),
    "FixedUnigramCandidateSampler": lambda x, path: raw.FixedUnigramCandidateSampler(
        true_classes=[[1]], num_true=1, num_sampled=1, unique=True, range_max=2, vocab_file=path
    ),
    "LoadAndRemapMatrix": lambda x, path: raw.LoadAndRemapMatrix(
        ckpt_path=path, old_tensor_name="x", row_remapping=[0], col_remapping=[0], initializing_values=[], num_rows=1,
        num_cols=1,
    ),
    "InitializeTableFromTextFileV2": lambda x, path: raw.InitializeTableFromTextFileV2(
        table_handle=raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64), filename=path, key_index=-2,
        value_index=-1,
    ),
    "Abort": lambda x, path: raw.Abort(error_msg=path),
}  # fmt: skip


def harmful_function(folder: Path, operation: str, path: str) -> Path:
    """Returns a SavedModel with an operation in a function of its library."""

    def call(x: Any) -> Any:
        with tf.control_dependencies(
            [each for each in tf.nest.flatten(HARMFUL[operation](x, path)) if each is not None]
        ):
            return tf.identity(x)

    module = tf.Module()
    module.call = tf.function(call, input_signature=[tf.TensorSpec([1])], autograph=False)
    tf.saved_model.save(module, str(folder))
    return folder


def harmful_graph(folder: Path, operation: str, path: str) -> Path:
    """Returns a SavedModel of TensorFlow 1 with an operation in the graph itself."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [1], name="x")
        with tf.control_dependencies(
            [each for each in tf.nest.flatten(HARMFUL[operation](x, path)) if each is not None]
        ):
            y = tf.identity(x, name="y")
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    return folder


# --- ordinary ones ---


def simple_saved(folder: Path, partitions: int = 1) -> Path:
    """Returns a SavedModel of TensorFlow 1: two dense layers, one of them with partitioned variables."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 6], name="x")
        partitioner = v1.fixed_size_partitioner(partitions) if partitions > 1 else None
        kernel = v1.get_variable("hidden/kernel", [6, 4], partitioner=partitioner)
        y = tf.nn.softmax(tf.nn.relu(x @ kernel) @ v1.get_variable("outputs/kernel", [4, 3], use_resource=True))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    return folder


def saved_with_meta(folder: Path, **saver: Any) -> Path:
    """Returns the prefix of a checkpoint of a net that was trained with TensorFlow 1, as books have it."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 6], name="X")
        y = v1.placeholder(tf.int32, [None], name="y")
        training = v1.placeholder_with_default(False, shape=(), name="training")
        kernel = v1.get_variable("hidden1/kernel", [6, 4])
        hidden = tf.nn.elu(x @ kernel, name="hidden1/Elu")
        hidden = tf.cond(training, lambda: tf.nn.dropout(hidden, rate=0.5), lambda: hidden)
        logits = tf.matmul(hidden, v1.get_variable("outputs/kernel", [4, 3], use_resource=True), name="logits")
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits), name="loss")
        v1.summary.scalar("loss", loss)
        step = v1.train.get_or_create_global_step()
        v1.train.AdamOptimizer().minimize(loss, global_step=step)
        v1.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
        session.run(v1.global_variables_initializer())
        return Path(v1.train.Saver(**saver).save(session, str(folder / "net.ckpt")))


def frozen_graph(path: Path) -> Path:
    """Returns a graph whose variables are constants."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 6], name="x")
        tf.nn.softmax(x @ v1.get_variable("kernel", [6, 3]), name="y")
        session.run(v1.global_variables_initializer())
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["y"])
    path.write_bytes(frozen.SerializeToString())
    return path


def text_module(folder: Path) -> Path:
    """Returns a SavedModel that splits texts into words, looks these up in an asset, and takes their mean."""
    words = folder.with_name("words.txt")
    words.write_text("one\ntwo\nthree\n")
    tables = tf.lookup
    initializer = tables.TextFileInitializer(
        str(words), tf.string, tables.TextFileIndex.WHOLE_LINE, tf.int64, tables.TextFileIndex.LINE_NUMBER
    )
    module = tf.Module()
    module.table = tables.StaticVocabularyTable(initializer, num_oov_buckets=2)
    module.vectors = tf.Variable(np.random.default_rng(0).normal(size=(5, 3)).astype("f4"))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def call(texts: Any) -> Any:
        found = tf.strings.split(tf.strings.lower(texts)).to_tensor("")
        return tf.reduce_mean(tf.gather(module.vectors, module.table.lookup(found)), axis=1)

    module.__call__ = call
    tf.saved_model.save(module, str(folder), signatures=call)
    words.unlink()
    return folder


def text_module_1(folder: Path) -> Path:
    """Returns a SavedModel of TensorFlow 1 with a table from an asset, as estimators have it."""
    words = folder.with_name("words.txt")
    words.write_text("one\ntwo\nthree\n")
    tables = tf.lookup
    with tf.Graph().as_default(), v1.Session() as session:
        texts = v1.placeholder(tf.string, [None], name="texts")
        initializer = tables.TextFileInitializer(
            str(words), tf.string, tables.TextFileIndex.WHOLE_LINE, tf.int64, tables.TextFileIndex.LINE_NUMBER
        )
        numbers = tables.StaticHashTable(initializer, -1).lookup(texts)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"texts": texts}, {"numbers": numbers})
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, main_op=v1.tables_initializer(),
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        )  # fmt: skip
        builder.save()
    words.unlink()
    return folder


def saved_again(before: Path, folder: Path) -> Path:
    """Returns what TensorFlow of today makes of a SavedModel, of whatever age."""
    tf.saved_model.save(tf.saved_model.load(str(before)), str(folder))
    return folder


def loops(folder: Path) -> Path:
    """Returns a SavedModel with loops, branches, lists, chance and a mutable table."""
    module = tf.Module()
    module.seen = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
    module.steps = tf.Variable(0)
    module.noise = tf.random.Generator.from_seed(1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def call(x: Any) -> Any:
        sums = tf.TensorArray(tf.float32, 0, dynamic_size=True)
        for index in tf.range(tf.size(x)):
            sums = sums.write(index, tf.reduce_sum(x[: index + 1]))
            module.steps.assign_add(1)
        module.seen.insert(tf.constant([1], tf.int64), tf.zeros(1))
        tf.debugging.assert_greater(module.steps, -1)
        total = sums.concat() if tf.size(x) > 3 else sums.stack()
        return total + module.noise.normal([1])

    module.call = call
    tf.saved_model.save(module, str(folder))
    return folder


# --- edits ---


def edited(folder: Path, edit: Callable[[Any], object], is_text: bool = False) -> Path:
    """Changes the first graph of a SavedModel, which has no fingerprint afterwards; writes it as text if asked."""
    path = folder / "saved_model.pb"
    model = SavedModel.FromString(path.read_bytes())
    edit(model.meta_graphs[0])
    path.unlink()
    (folder / "fingerprint.pb").unlink(missing_ok=True)
    if is_text:
        path.with_suffix(".pbtxt").write_text(text_format.MessageToString(model))
    else:
        path.write_bytes(model.SerializeToString())
    return folder


def edited_meta(prefix: Path, edit: Callable[[Any], object]) -> Path:
    """Changes the graph beside a checkpoint."""
    path = prefix.with_name(f"{prefix.name}.meta")
    graph = v1.MetaGraphDef.FromString(path.read_bytes())
    edit(graph)
    path.write_bytes(graph.SerializeToString())
    return path


def node(meta_graph: Any, name: str) -> Any:
    """Returns the node of that name in the graph itself."""
    (found,) = [each for each in meta_graph.graph_def.node if each.name == name]
    return found


def node_with(meta_graph: Any, operation: str, function: str = "") -> Any:
    """Returns the first node with an operation, in a function whose name has that in it, or in the graph itself."""
    graph = meta_graph.graph_def
    nodes = graph.node
    if function:
        nodes = [each for body in graph.library.function if function in body.signature.name for each in body.node_def]
    return next(each for each in nodes if each.op == operation)


def function_with(meta_graph: Any, operation: str) -> Any:
    """Returns the first function that has an operation."""
    return next(
        body for body in meta_graph.graph_def.library.function if operation in {each.op for each in body.node_def}
    )


def add_node(nodes: Any, name: str, operation: str, *inputs: str, **attributes: Any) -> Any:
    """Adds a node to a graph or function, and returns it."""
    added = nodes.add(name=name, op=operation, input=inputs)
    for key, value in attributes.items():
        added.attr[key].CopyFrom(value)
    return added


def function_named(name: str) -> Any:
    """Returns the attribute that names a function."""
    value = v1.AttrValue()
    value.func.name = name
    return value


def of_type(kind: Any) -> Any:
    """Returns the attribute that names a type of numbers."""
    return v1.AttrValue(type=kind.as_datatype_enum)


def constant(nodes: Any, name: str, text: str) -> Any:
    """Adds a constant with a text, and returns it."""
    tensor = tf.make_tensor_proto(text)
    return add_node(nodes, name, "Const", dtype=of_type(tf.string), value=v1.AttrValue(tensor=tensor))

"""Computes what depends on weights and numbers alone, and says plainly what tf2onnx says in many small operators."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from zoo.converters.exporting.net import Array, Net, Op, known_size
from zoo.converters.exporting.sizes import Size, asked_sizes, follow_sizes

_LARGEST = 1 << 22  # numbers in a value that is computed here though no weight is as large
_COPIES = {"Identity", "Dropout", "StopGradient"}


def fold(net: Net) -> None:
    """Computes every operator that takes known values only; the net remembers from which weights."""
    kept = []
    for op in net.ops:
        inputs = [name for name in op.inputs if name]
        computable = onnx.defs.has(op.operator, op.domain) and not op.graphs and "Random" not in op.operator
        if not inputs or not computable or not all(name in net.constants for name in inputs):
            kept.append(op)
            continue
        sizes = [known_size(net.sizes(name)) for name in op.outputs]
        largest = max([_LARGEST, *(net.constants[name].size for name in inputs)])
        if any(size is not None and size > largest for size in sizes):
            kept.append(op)
            continue
        from_weights = frozenset().union(*(net.sources.get(name, frozenset()) for name in inputs))
        for name, array in zip(op.outputs, _computed(net, op), strict=False):
            if name:
                net.constants[name] = array
                net.sources[name] = from_weights
    net.ops = kept
    _keep_outputs(net)


def _keep_outputs(net: Net) -> None:
    """Puts an operator before an output that turned out to be a known value: a graph's output must be computed."""
    made = {name for op in net.ops for name in op.outputs}
    for name in net.outputs:
        if name in net.constants and name not in made:
            known = net.constant(net.constants.pop(name), name)
            net.ops.append(Op("Identity", f"{name}/known", [known], [name]))


def _computed(net: Net, op: Op) -> list[Array]:
    arrays = [net.constants[name] if name else None for name in op.inputs]
    first = arrays[0]
    assert first is not None
    if op.operator == "Transpose":  # these three as views: kernels may be large
        return [first.transpose(op.get("perm", range(first.ndim)[::-1]))]
    if op.operator == "Reshape" and arrays[1] is not None and not op.get("allowzero"):
        sizes = [first.shape[axis] if size == 0 else int(size) for axis, size in enumerate(arrays[1])]
        return [first.reshape(sizes)]
    if op.operator in _COPIES:
        return [first]
    node = op.proto()
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(node.input) if name],
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(op.domain, net.opset)])
    feeds = {name: net.constants[name] for name in node.input if name}
    return [np.asarray(each) for each in ReferenceEvaluator(model).run(None, feeds)]


def simplify(net: Net) -> None:
    """Replaces what tf2onnx and TensorFlow write in several operators by the one that says it."""
    for rule in (_without_copies, follow_sizes, _products, _without_doubles, _linear, _biases):
        rule(net)
    net.prune()


def _without_copies(net: Net) -> None:
    """Takes out operators that hand on what they get."""
    captured, names = net.captured(), dict[str, str]()
    kept = []
    for op in net.ops:
        op.inputs = [names.get(each, each) for each in op.inputs]
        source = op.inputs[0] if op.inputs else ""
        copies = op.operator in _COPIES or (
            op.operator == "Cast" and source in net.types and net.types[source] == op.get("to")
        )
        if copies and op.outputs[0] not in captured and op.outputs[0] not in net.outputs:
            names[op.outputs[0]] = source
        else:
            kept.append(op)
    net.ops = kept
    _without_last_copies(net)


def _without_last_copies(net: Net) -> None:
    """Lets what makes a value that is only handed on as an output make that output."""
    producers, consumers, captured = net.producers(), net.consumers(), net.captured()
    gone = set()
    for op in net.ops:
        source = op.inputs[0] if op.operator == "Identity" and op.outputs[0] in net.outputs else ""
        before = producers.get(source)
        if before is None or source in net.outputs or source in captured or consumers[source] != [op]:
            continue
        before.outputs = [op.outputs[0] if each == source else each for each in before.outputs]
        gone.add(op)
    net.ops = [op for op in net.ops if op not in gone]


def _products(net: Net) -> None:
    """Makes one product with a weight of what TensorFlow writes for more than two axes: rows, product, back."""
    producers, consumers = net.producers(), net.consumers()
    for op in net.ops:
        product = producers.get(op.inputs[0]) if op.operator == "Reshape" else None
        rows = producers.get(product.inputs[0]) if product and product.operator == "MatMul" else None
        if rows is None or product is None or rows.operator != "Reshape" or product.inputs[1] not in net.constants:
            continue
        kernel, x, y = net.constants[product.inputs[1]], net.sizes(rows.inputs[0]), net.sizes(op.outputs[0])
        if not x or not y or len(x) != len(y) or len(x) < 3 or kernel.shape != (x[-1], y[-1]):
            continue
        same = x[:-1] == y[:-1]
        if same and x.count(None) > 1:
            asked = asked_sizes(net, op)
            sizes = [each or Size(rows.inputs[0], axis) for axis, each in enumerate(x[:-1])]
            same = asked is not None and asked[:-1] == sizes
        if same and len(net.sizes(rows.outputs[0]) or ()) == 2 and len(consumers[product.outputs[0]]) == 1:
            op.operator, op.inputs, op.attributes, op.name = (
                "MatMul",
                [rows.inputs[0], product.inputs[1]],
                {},
                product.name,
            )
    net.prune()


def _without_doubles(net: Net) -> None:
    _without_double_negation(net)
    _without_double_reversal(net)


def _without_double_reversal(net: Net) -> None:
    """Says x for what is turned back to front twice, as what a Bidirectional reads backwards is."""
    producers = net.producers()
    for op in net.ops:
        before = producers.get(op.inputs[0]) if op.operator == "Slice" else None
        if before is not None and before.operator == "Slice" and _reversed(net, op) == _reversed(net, before) != []:
            op.operator, op.inputs = "Identity", [before.inputs[0]]


def _reversed(net: Net, op: Op) -> list[int]:
    """Returns the axes along which a Slice takes everything from the end to the start."""
    if len(op.inputs) < 5 or not all(name in net.constants for name in op.inputs[1:]):
        return []
    starts, ends, axes, steps = (net.constants[name].reshape(-1) for name in op.inputs[1:])
    whole = (starts == -1).all() and (ends < -(1 << 31)).all() and (steps == -1).all()
    return sorted(axes.tolist()) if whole else []


def _without_double_negation(net: Net) -> None:
    """Says erf(x * c) for erf(-(-x * c)), which comes of erfc."""
    producers, consumers = net.producers(), net.consumers()
    made = {}
    for op in net.ops:
        outer = producers.get(op.inputs[0]) if op.operator == "Erf" else None
        product = producers.get(outer.inputs[0]) if outer and outer.operator == "Neg" else None
        if product is None or product.operator not in ("Mul", "Div"):
            continue
        inner = producers.get(product.inputs[0])
        if inner is not None and inner.operator == "Neg" and len(consumers[product.outputs[0]]) == 1:
            assert outer is not None
            twin = Op(product.operator, product.name, [inner.inputs[0], product.inputs[1]], [net.fresh(op.outputs[0])])
            net.dims[twin.outputs[0]] = net.dims.get(product.outputs[0], ())
            made[op] = twin
            op.inputs[0] = twin.outputs[0]
    net.ops = [each for op in net.ops for each in ([made[op], op] if op in made else [op])]


def _linear(net: Net) -> None:
    """Makes Gemm of a product with a weight and what is added to it, on rows."""
    consumers, gone = net.consumers(), set()
    for op in net.ops:
        if op.operator != "MatMul" or op.inputs[1] not in net.constants or net.outputs.count(op.outputs[0]):
            continue
        rank = len(net.sizes(op.inputs[0]) or ())
        kernel, users = net.constants[op.inputs[1]], consumers.get(op.outputs[0], [])
        if rank != 2 or kernel.ndim != 2 or len(users) != 1 or users[0].operator != "Add":
            continue
        bias = [name for name in users[0].inputs if name != op.outputs[0]]
        if len(bias) == 1 and bias[0] in net.constants and net.constants[bias[0]].shape == (kernel.shape[1],):
            users[0].operator, users[0].inputs = "Gemm", [*op.inputs, bias[0]]
            users[0].name = op.name
            gone.add(op)
    net.ops = [op for op in net.ops if op not in gone]


def _biases(net: Net) -> None:
    """Makes what is added to a convolution its bias."""
    producers, consumers, gone = net.producers(), net.consumers(), set[Op]()
    for op in net.ops:
        known = [name for name in op.inputs if name in net.constants]
        if op.operator != "Add" or len(known) != 1:
            continue
        before = producers.get(next(name for name in op.inputs if name != known[0]))
        if before is None or before.operator not in ("Conv", "ConvTranspose") or len(before.inputs) > 2:
            continue
        bias, rank = net.constants[known[0]], len(net.constants[before.inputs[1]].shape) if (
            before.inputs[1] in net.constants) else 0  # fmt: skip
        channels = (net.sizes(op.outputs[0]) or (None, None))[1]
        fits = bias.size == channels and bias.shape[-(rank - 1) :][:1] == (channels,) and bias.ndim >= rank - 1
        if rank and fits and len(consumers[before.outputs[0]]) == 1 and before.outputs[0] not in net.outputs:
            before.inputs = [*before.inputs[:2], net.constant(bias.reshape(-1), known[0])]
            before.outputs = op.outputs
            gone.add(op)
    net.ops = [op for op in net.ops if op not in gone]


def merge_weights(net: Net) -> None:
    """Keeps one of known values that were made alike of the same weights, as those of a layer that is called twice."""
    groups = dict[tuple[object, ...], list[str]]()
    names = dict[str, str]()
    fixed = net.captured().union(net.outputs)
    for name, array in net.constants.items():
        if name not in net.sources or name in fixed:
            continue
        alike = groups.setdefault((net.sources[name], array.shape, array.dtype), [])
        same = next((each for each in alike if np.array_equal(net.constants[each], array)), None)
        if same is None:
            alike.append(name)
        else:
            names[name] = same
    net.use_instead(names)


def merge_equal(net: Net) -> None:
    """Lets operators that compute the same be one, and a Reshape of a Reshape."""
    captured, seen, names = net.captured(), dict[tuple[object, ...], Op](), dict[str, str]()
    producers = net.producers()
    kept = []
    for op in net.ops:
        op.inputs = [names.get(each, each) for each in op.inputs]
        if op.operator == "Reshape" and op.inputs[1] in net.constants and (net.constants[op.inputs[1]] != 0).all():
            before = producers.get(op.inputs[0])
            if before is not None and before.operator == "Reshape" and before.inputs[0] not in net.constants:
                op.inputs[0] = before.inputs[0]
        key = (
            op.operator,
            op.domain,
            tuple(op.inputs),
            tuple(sorted((k, v.SerializeToString()) for k, v in op.attributes.items())),
        )
        same = seen.setdefault(key, op)
        exchangeable = not any(name in captured or name in net.outputs for name in op.outputs)
        if same is not op and exchangeable and op.operator in ("Transpose", "Reshape", "Shape", "Gather", "Slice"):
            names |= dict(zip(op.outputs, same.outputs, strict=True))
        else:
            kept.append(op)
    net.ops = kept
    net.prune()

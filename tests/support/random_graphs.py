"""Random graphs of ONNX over the operators that the importer knows, and whether they become what they are.

python tests/support/random_graphs.py MINUTES [SEED]      converts as many as that takes; what is found, with its graph
python tests/support/random_graphs.py --only SEED         one graph, and what is found of it
"""

from __future__ import annotations

import collections
import random
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from onnx import helper, numpy_helper
from random_draft import NEWEST, Array, Draft, Drawn
from random_layers import LAYERS
from random_numbers import NUMBERS
from random_pieces import PIECES
from random_products import PRODUCTS
from random_shapes import SHAPES
from zoo.converters import onnx_to_keras
from zoo.converters.parity import relative_error, run_onnx

from zoo.errors import IntegrityError

MAKERS = {**LAYERS, **PRODUCTS, **PIECES, **SHAPES, **NUMBERS}
_OPEN = ({"n": 2, "t": 5, "h": 8, "w": 7}, {"n": 5, "t": 11, "h": 14, "w": 13}, {"n": 3, "t": 6, "h": 10, "w": 12})
_LIMIT = 1e-4


@dataclass(frozen=True)
class Case:
    """A graph that was drawn.

    Attributes:
        model: The graph.
        text: The same as Python that makes it, by the functions of `onnx_graphs`.
        inputs: The sizes of each input, texts for those that are open, and its type.
        discarded: How many nodes onnxruntime refused on the way, by their operators.
        is_saved: Whether the result is to be saved and loaded too.
    """

    model: onnx.ModelProto
    text: str
    inputs: Mapping[str, tuple[list[Any], str]]
    discarded: collections.Counter[str]
    is_saved: bool


@dataclass(frozen=True)
class Finding:
    """What came of a graph: "fine", "refused" with the importer's reason, or a "fault"."""

    kind: str
    reason: str = ""


def random_case(rng: random.Random) -> Case:
    """Returns a graph."""
    draft = Draft(rng, rng.randint(7, NEWEST))
    _draw_inputs(draft)
    makers, weights = list(MAKERS), list(MAKERS.values())
    wanted = draft.number(2, 9) if draft.any(0.8) else draft.number(10, 18)
    for _ in range(80):
        wanted -= draft.attempt(rng.choices(makers, weights)[0])
        if not wanted:
            break
    return _case(draft)


def _draw_inputs(g: Draft) -> None:
    batch: Any = "n" if g.any(0.6) else g.number(1, 3)
    is_open = g.any(0.15)
    many = g.one([1, 1, 1, 1, 2, 2, 3])
    for at in range(many):
        if at and g.any(0.4):
            dims, kind = g.inputs[g.values[0].name]
        else:
            dims, kind = _dims(g, batch, is_open)
        samples = [_sample(dims, kind, sizes, at + 10 * which) for which, sizes in enumerate(_OPEN[:2])]
        g.input(dims, (samples[0], samples[1]))


def _dims(g: Draft, batch: Any, is_open: bool) -> tuple[list[Any], str]:
    high, wide, long = ("h", "w", "t") if is_open else (g.number(3, 9), g.number(3, 9), g.number(2, 8))
    channels = g.one([1, 2, 3, 4, 6, 8])
    how = g.number(0, 19)
    if how < 10:
        return [batch, channels, high, wide], "float32"
    if how < 11:
        return [batch, high, wide, channels], "float32"
    if how < 13:
        return [batch, channels, long], "float32"
    if how < 14:
        return [batch, long, channels], "float32"
    if how < 16:
        return [batch, g.number(1, 12)], "float32"
    if how < 17:
        return [batch, g.number(1, 3), 3, 4, 3], "float32"
    if how < 18:
        return [batch, long], "int64"
    return g.one([([batch, 1], "float32"), ([g.number(1, 6)], "float32"), ([batch, long], "bool")])  # type: ignore[no-any-return]


def _sample(dims: list[Any], kind: str, sizes: Mapping[str, int], seed: int) -> Array:
    shape, rng = [sizes.get(each, each) for each in dims], np.random.default_rng(seed)
    if kind == "float32":
        return rng.standard_normal(shape).astype("float32")
    return rng.integers(0, 2, shape).astype(kind)


# --- the graph as a model, and as Python ---


def _case(g: Draft) -> Case:
    read = {name for node in g.nodes for name in node.input}
    computed = [each for each in g.values if not each.is_size and each.name not in g.inputs]
    ends = [each for each in computed if each.name not in read]
    outputs = ends[-g.number(1, 4) :]
    if computed and g.any(0.15):
        outputs = list({each.name: each for each in [*outputs, g.one(computed)]}.values())
    nodes = _needed(g.nodes, [each.name for each in outputs])
    names = {name for node in nodes for name in node.input}
    inputs = {name: each for name, each in g.inputs.items() if name in names}
    arrays = {name: each for name, each in g.arrays.items() if name in names}
    model = _model(g, nodes, inputs, outputs, arrays)
    return Case(model, _text(g, nodes, inputs, outputs, arrays), inputs, g.discarded, g.any(0.1))


def _needed(nodes: list[onnx.NodeProto], wanted: list[str]) -> list[onnx.NodeProto]:
    names, found = set(wanted), []
    for node in reversed(nodes):
        if names & set(node.output):
            names |= set(node.input)
            found.append(node)
    return found[::-1]


def _model(
    g: Draft, nodes: list[onnx.NodeProto], inputs: Mapping[str, Any], outputs: list[Drawn], arrays: Mapping[str, Array]
) -> onnx.ModelProto:
    kept, nodes = dict(arrays), [_renamed(g, each, at) for at, each in enumerate(nodes)]
    if g.any(0.3):  # as exporters write small numbers
        for name in [name for name, each in arrays.items() if each.dtype.kind != "f" or each.ndim == 0]:
            tensor = numpy_helper.from_array(kept.pop(name), name)
            nodes = [helper.make_node("Constant", [], [name], value=tensor), *nodes]
    infos = [helper.make_tensor_value_info(name, _type(kind), dims) for name, (dims, kind) in inputs.items()]
    if g.any(0.1):  # as old files list weights
        infos += [helper.make_tensor_value_info(name, _type(each.dtype), each.shape) for name, each in kept.items()]
    proto = helper.make_graph(
        nodes, "drawn", infos, [helper.make_tensor_value_info(each.name, _type(each.kind), None) for each in outputs],
        [numpy_helper.from_array(each, name) for name, each in kept.items()],
    )  # fmt: skip
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", g.opset)], ir_version=8)


def _renamed(g: Draft, node: onnx.NodeProto, at: int) -> onnx.NodeProto:
    """Returns a node with a name as exporters give it, or with none."""
    found = onnx.NodeProto()
    found.CopyFrom(node)
    found.name = g.one([node.name, node.name, "", f"/net/{node.op_type}_{at}", f"{node.op_type}:{at}"])
    return found


def _type(kind: Any) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))


def _text(g: Draft, nodes: list[onnx.NodeProto], inputs: Mapping[str, Any], outputs: list[Drawn], arrays: Any) -> str:
    lines = []
    for each in nodes:
        settings = "".join(f", {a.name}={_attribute(a)!r}" for a in each.attribute)
        names = " ".join(name or "_" for name in each.input)
        lines.append(f"    node({each.op_type!r}, {names!r}, {' '.join(each.output)!r}{settings}),")
    sizes = {name: tuple(dims) for name, (dims, _) in inputs.items()}
    types = {name: kind for name, (_, kind) in inputs.items() if kind != "float32"}
    weights = "".join(f"\n    {name}={g.said[name]}," for name in arrays)
    outs = " ".join(each.name for each in outputs)
    body = "\n".join(lines)
    return f"graph([\n{body}\n], {sizes}, opset={g.opset}, outputs={outs!r}, types={types},{weights}\n)"


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    return (
        float(str(np.float32(value)))
        if isinstance(value, float)
        else list(value)
        if hasattr(value, "__len__")
        else value
    )


# --- the judgement ---


def judged(case: Case) -> Finding:
    """Returns what comes of a graph: converted, asked again with other sizes, and saved and loaded."""
    try:
        model, report = onnx_to_keras(case.model)
    except IntegrityError as error:
        return Finding(_kind(str(error)), str(error))
    except Exception as error:  # whatever it is, it is a fault
        return Finding("fault", f"{type(error).__name__}: {error}")
    try:
        return _asked_again(case, model, report)
    except Exception as error:
        return Finding("fault", f"afterwards {type(error).__name__}: {' '.join(str(error).split())[:500]}")


def _kind(message: str) -> str:
    if message.startswith("onnxruntime"):
        return "discarded"
    is_fault = message.startswith("The converted model") or "it fails with" in message
    return "fault" if is_fault else "refused"


def _asked_again(case: Case, model: keras.Model, report: Any) -> Finding:
    names = [each.name for each in case.model.graph.output]
    for at, sizes in enumerate(_OPEN[2:] + _OPEN[:1]):
        given = {
            name: _sample(dims, kind, sizes, 77 + at + 5 * place)
            for place, (name, (dims, kind)) in enumerate(case.inputs.items())
        }
        try:
            (expected,) = run_onnx(case.model.SerializeToString(), [given], names)
        except IntegrityError:
            continue  # with these sizes it cannot be
        found = _asked(model, report, given)
        for name, each in zip(names, found, strict=True):
            back = each.transpose(np.argsort(report.layouts[name]))
            error = relative_error(back, expected[name])
            if back.dtype != expected[name].dtype:
                return Finding("fault", f"afterwards {name!r} is of {back.dtype}, not {expected[name].dtype}")
            if not error <= _LIMIT:
                return Finding(
                    "fault", f"afterwards, for {sizes}, {name!r} of {expected[name].shape} differs by {error:.1e}"
                )
    if case.is_saved:
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "net.keras")
            loaded = keras.models.load_model(Path(folder) / "net.keras")
        for one, other in zip(found, _asked(loaded, report, given), strict=True):
            if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
                return Finding("fault", "loaded again it computes something else")
    return Finding("fine")


def _asked(model: keras.Model, report: Any, given: Mapping[str, Array]) -> list[Array]:
    x = [array.transpose(report.layouts[name]) for name, array in given.items()]
    return [np.asarray(each) for each in keras.tree.flatten(model(x if len(x) > 1 else x[0], training=False))]


def shortest(case: Case) -> tuple[Finding, str]:
    """Returns what is wrong with the smallest beginning of a graph with which something is, and its last node."""
    for node in case.model.graph.node:
        for name in node.output:
            if node.op_type == "Constant" or not name:
                continue
            part = onnx.ModelProto()
            part.CopyFrom(case.model)
            needed = _needed(list(part.graph.node), [name])
            read = {each for one in needed for each in one.input}
            if not read & set(case.inputs):
                continue
            del part.graph.node[:], part.graph.output[:]
            part.graph.node.extend(needed)
            inferred = onnx.shape_inference.infer_shapes(case.model).graph
            told = {each.name: each for each in (*inferred.value_info, *inferred.output)}
            part.graph.output.append(told.get(name, onnx.ValueInfoProto(name=name)))
            kept = [each for each in part.graph.input if each.name in read]
            del part.graph.input[:]
            part.graph.input.extend(kept)
            inputs = {each: told_ for each, told_ in case.inputs.items() if each in read}
            finding = judged(Case(part, "", inputs, case.discarded, False))
            if finding.kind == "fault":
                return finding, " ".join(each.output[0] for each in needed if each.op_type != "Constant")
    return Finding("fine"), ""


# --- the script ---


def _grouped(reason: str) -> str:
    operator = re.search(r"\((\w+)\)", reason)
    reason = re.sub(r"node '[^']*'", "node", reason).split("What is below")[0].split("There is nothing below")[0]
    return f"{operator.group(1) if operator else '-'}: {re.sub(r'[0-9][0-9.e+-]*', '#', reason)[:160]}"


def main(arguments: list[str]) -> None:
    """Prints what random graphs become, and those in Python that become nothing good."""
    if arguments[0] == "--only":
        case = random_case(random.Random(int(arguments[1])))
        print(case.text, judged(case), shortest(case), sep="\n")
        return
    end, seed = time.monotonic() + 60 * float(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    first, kinds, groups = seed, collections.Counter[str](), collections.defaultdict[str, list[int]](list)
    operators, discarded, nodes = collections.Counter[str](), collections.Counter[str](), 0
    while time.monotonic() < end:
        case = random_case(random.Random(seed))
        if case.model.graph.output:
            finding = judged(case)
            kinds[finding.kind] += 1
            operators.update(each.op_type for each in case.model.graph.node)
            nodes += len(case.model.graph.node)
            if finding.kind != "fine":
                group = f"{finding.kind} {_grouped(finding.reason)}"
                groups[group].append(seed)
                if finding.kind == "fault" and len(groups[group]) <= 2:
                    part, names = shortest(case)
                    print(
                        f"--- seed {seed}: {finding.reason[:600]}\n{case.text}\n... up to {names}: {part.reason[:300]}",
                        flush=True,
                    )
        else:
            kinds["empty"] += 1
        discarded.update(case.discarded)
        seed += 1
        if seed % 50 == 0:
            keras.utils.clear_session()
    print(f"=== {seed - first} graphs from seed {first} on, {nodes} nodes: {dict(kinds)}")
    print(f"nodes that onnxruntime refused: {sum(discarded.values())}: {dict(discarded.most_common(12))}")
    print(f"operators: {dict(operators.most_common())}")
    for group, seeds in sorted(groups.items(), key=lambda each: -len(each[1])):
        print(f"{len(seeds)} {group}   seeds {seeds[:6]}")


if __name__ == "__main__":
    main(sys.argv[1:])

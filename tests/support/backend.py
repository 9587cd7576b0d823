"""ONNX's own node tests, run through the importer: the conversion itself is judged by the outputs that ONNX ships.

python tests/support/backend.py [PATTERN...]      which pass, by operator; what fails, with reasons
"""

from __future__ import annotations

import collections
import fnmatch
import functools
import sys
import warnings
from typing import Any

import numpy as np
import onnx
import zoo.converters.importing.operators  # noqa: F401  which declares them
from onnx.backend.test.loader import load_model_tests
from zoo.converters.importing.registry import known_operator, operator_names
from zoo.converters.parity import relative_error

from zoo.errors import ZooError


@functools.cache
def cases() -> dict[str, Any]:
    """Returns ONNX's node tests by name."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return {case.name: case for case in load_model_tests(kind="node")}


def _arrays(values: Any, data: Any) -> dict[str, Any]:
    """Returns the data of a case by the names of its inputs or outputs; types that NumPy has not come as protobufs."""
    arrays = [
        onnx.numpy_helper.to_array(each) if isinstance(each, onnx.TensorProto) else np.asarray(each) for each in data
    ]
    return dict(zip([each.name for each in values], arrays, strict=False))


def is_supported(model: onnx.ModelProto) -> bool:
    """Returns whether all operators of a model are among those that the importer knows."""
    return all(known_operator(node.op_type) is not None for node in model.graph.node)


def run_case(name: str) -> float:
    """Returns the largest error of a case, relative to the largest value of an output, on the data that it ships with.

    Inputs that a test gives beside the data, as a kernel or a shape may be, are constants of the model.
    """
    from zoo.converters import onnx_to_keras

    case = cases()[name]
    ins, outs = case.data_sets[0]
    inputs, outputs = _arrays(case.model.graph.input, ins), _arrays(case.model.graph.output, outs)
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    _bind(model, inputs)
    examples = {each.name: np.asarray(inputs[each.name]) for each in model.graph.input}
    converted, report = onnx_to_keras(model, examples=examples, limit=np.inf)
    x = [np.asarray(each).transpose(report.layouts[key]) for key, each in examples.items()]
    found = converted(x if len(x) > 1 else x[0], training=False)
    found = found if isinstance(found, (list, tuple)) else [found]
    errors = []
    for (key, expected), each in zip(outputs.items(), found, strict=True):
        back = np.asarray(each).transpose(np.argsort(report.layouts[key]))
        assert back.dtype == np.asarray(expected).dtype, f"{key} is {back.dtype}, not {np.asarray(expected).dtype}"
        errors.append(relative_error(back, np.asarray(expected)))
    return max(errors)


def _bind(model: onnx.ModelProto, inputs: dict[str, Any]) -> None:
    """Makes constants of the inputs that are no data: all but the first, as weights, shapes and axes are."""
    tensors = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum", "And", "Or", "Xor", "Equal", "Greater"}
    tensors |= {"Less", "GreaterOrEqual", "LessOrEqual", "Where", "Concat", "MatMul", "Gemm", "Einsum", "Mod", "PRelu"}
    tensors |= {"BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Attention", "CastLike"}
    nodes = model.graph.node
    fixed = list(model.graph.input)[1:] if not (len(nodes) == 1 and nodes[0].op_type in tensors) else []
    if len(nodes) == 1 and nodes[0].op_type == "Attention":
        fixed = list(model.graph.input)[3:]
    if len(nodes) == 1 and nodes[0].op_type == "Compress":
        fixed = list(model.graph.input)[1:]
    for each in fixed:
        if isinstance(inputs[each.name], np.ndarray):
            model.graph.initializer.append(onnx.numpy_helper.from_array(inputs[each.name], each.name))
            model.graph.input.remove(each)


def main(patterns: list[str]) -> None:
    """Prints which node tests pass."""
    known = set(operator_names())
    passed: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    for name, case in cases().items():
        operators = {node.op_type for node in case.model.graph.node}
        if patterns and not any(fnmatch.fnmatch(name, f"*{each}*") for each in patterns):
            continue
        if not operators <= known | {"Shape", "Size"}:
            continue
        operator = "+".join(sorted(operators))
        total[operator] += 1
        try:
            error = run_case(name)
            if not error <= 1e-4:
                print(f"WRONG {name}: {error:.1e}")
                continue
            passed[operator] += 1
        except ZooError as error:
            print(f"refused {name}: {error}")
        except Exception as error:
            print(f"FAULT {name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    for operator in sorted(total):
        print(f"{operator}: {passed[operator]} of {total[operator]}")
    print(f"{sum(passed.values())} passed, {sum(total.values())} of supported operators, {len(cases())} in all")


if __name__ == "__main__":
    main(sys.argv[1:])

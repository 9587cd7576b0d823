"""ONNX's own node tests, run through the importer: the conversion itself is judged by the outputs that ONNX ships.

python tests/support/backend.py [PATTERN...]      which pass, by operator; what fails, with reasons
"""

from __future__ import annotations

import collections
import fnmatch
import functools
import importlib
import pkgutil
import sys
import warnings
from typing import Any

import numpy as np
import onnx
import zoo.converters.importing.operators  # noqa: F401  which declares them
from onnx.backend.test.case import node
from onnx.backend.test.loader import load_model_tests
from zoo.converters.importing.registry import operator_names
from zoo.converters.parity import relative_error

from zoo.errors import ZooError


def modules() -> list[str]:
    """Returns the modules of ONNX that have node tests. To import one makes its cases: of pools that takes seconds."""
    return [each.name for each in pkgutil.iter_modules(node.__path__) if not each.ispkg]


@functools.cache
def cases_of(module: str) -> dict[str, Any]:
    """Returns the node tests of a module by name."""
    before = len(node._NodeTestCases)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        importlib.import_module(f"{node.__name__}.{module}")
    return {case.name: case for case in node._NodeTestCases[before:]}


def supported_cases(module: str) -> dict[str, Any]:
    """Returns the cases of a module that have no operator but those that the importer knows."""
    known = {*operator_names(), "Shape", "Size"}
    found = cases_of(module).items()
    return {name: case for name, case in found if {each.op_type for each in case.model.graph.node} <= known}


def _arrays(values: Any, data: Any) -> dict[str, Any]:
    """Returns the data of a case by the names of its inputs or outputs; types that NumPy has not come as protobufs."""
    arrays = [
        onnx.numpy_helper.to_array(each) if isinstance(each, onnx.TensorProto) else np.asarray(each) for each in data
    ]
    return dict(zip([each.name for each in values], arrays, strict=False))


def run_case(case: Any) -> float:
    """Returns the largest error of a case, relative to the largest value of an output, on the data that it ships with.

    Inputs that a test gives beside the data, as a kernel or a shape may be, are constants of the model.
    """
    from zoo.converters import onnx_to_keras

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


def tolerance(case: Any) -> float:
    """Returns the largest error of a case that passes: ONNX's own, and for types of 16 bits a few of their last."""
    kinds = {each.type.tensor_type.elem_type for each in case.model.graph.output}
    if onnx.TensorProto.BFLOAT16 in kinds:
        return 2e-2
    return 5e-3 if onnx.TensorProto.FLOAT16 in kinds else float(case.rtol)


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
    passed: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    found = [pair for module in modules() for pair in supported_cases(module).items()]
    for name, case in found:
        if patterns and not any(fnmatch.fnmatch(name, f"*{each}*") for each in patterns):
            continue
        operator = "+".join(sorted({each.op_type for each in case.model.graph.node}))
        total[operator] += 1
        try:
            error = run_case(case)
            if not error <= tolerance(case):
                print(f"WRONG {name}: {error:.1e}")
                continue
            passed[operator] += 1
        except ZooError as error:
            print(f"refused {name}: {error}")
        except Exception as error:
            print(f"FAULT {name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    for operator in sorted(total):
        print(f"{operator}: {passed[operator]} of {total[operator]}")
    whole = len(load_model_tests(kind="node"))
    print(f"{sum(passed.values())} passed, {sum(total.values())} of supported operators, {whole} in all")


if __name__ == "__main__":
    main(sys.argv[1:])

"""ONNX's own node tests: all of the operators that the importer knows pass, but those that are listed with reasons."""

from __future__ import annotations

import fnmatch
from typing import Any

import pytest
from backend import modules, run_case, supported_cases, tolerance

from zoo.errors import ZooError

# As exact as can be: a case that is listed and passes fails this test as one does that is not and fails.
FAILING = {
    "test_cast_*FLOAT8*": "Keras has no inputs or outputs of 8-bit floating point",
    "test_castlike_*FLOAT8*": "Keras has no inputs or outputs of 8-bit floating point",
    "test_cast_*FLOAT4E2M1*": "Keras has no numbers of 4 bits",
    "test_castlike_*FLOAT4E2M1*": "Keras has no numbers of 4 bits",
    "test_cast_*INT[24]_*": "Keras has no numbers of 2 and 4 bits",
    "test_cast_*_to_*INT[24]": "Keras has no numbers of 2 and 4 bits",
    "test_castlike_*INT[24]*": "Keras has no numbers of 2 and 4 bits",
    "test_equal_string*": "Keras has no texts",
    "test_identity_sequence": "a sequence goes in, and no tensor",
    "test_identity_opt": "an optional value goes in, and no tensor",
    "test_training_dropout": "it drops at random, by the generator that made the case",
    "test_training_dropout_default*": "it drops at random, by the generator that made the case",
    "test_training_dropout_mask": "it drops at random, by the generator that made the case",
    "test_batchnorm_*_training_mode": "statistics of the batch come out",
    "test_maxpool_with_argmax_2d_*": "where the largest elements were comes out",
    "test_attention_4d_*padded_kv*": "the mask is shorter than the keys, which onnxruntime refuses too",
    "test_lstm_with_peepholes": "the LSTM of Keras has no peepholes",
    "test_nonzero_example": "how much comes out depends on values",
    "test_reduce_max_empty_set*": "the largest of nothing",
    "test_reduce_min_empty_set": "the smallest of nothing",
    "test_resize_downsample_scales_*_align_corners": "the length is onnxruntime's, of the scale as a number of 32 bits",
    "test_range_*": "how many numbers come out depends on values: nothing else goes in",
    "test_constantofshape_*": "what shape comes out depends on values: nothing else goes in",
}
# What takes longest to make is apart, for tests that run side by side.
SLOW = ("averagepool", "lppool", "maxpool")
OTHERS = [each for each in modules() if each not in SLOW]
GROUPS = [*([each] for each in SLOW), *(OTHERS[first::9] for first in range(9))]


def _listed(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, each) for each in FAILING)


def _outcome(case: Any) -> str:
    """Returns why a case fails; nothing where it passes."""
    try:
        error = run_case(case)
    except ZooError as refusal:
        return str(refusal)[:300]
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"[:300]
    return "" if error <= tolerance(case) else f"it differs by {error:.1e}"


def _cases(module: str, part: str) -> dict[str, Any]:
    found = supported_cases(module)
    plain = sorted(name for name in found if "_expanded" not in name)
    names = {"": plain[::2], "others": plain[1::2], "expanded": [name for name in found if "_expanded" in name]}
    return {name: found[name] for name in names[part]}


@pytest.mark.filterwarnings("ignore")  # NumPy and Keras warn of what some cases are about: infinities, axes of size 1
# Many cases are there twice: as an operator, and expanded into those that it is made of. Of the former, every other
# one of each operator is enough to run each time.
@pytest.mark.parametrize("part", ["", *(pytest.param(each, marks=pytest.mark.slow) for each in ("others", "expanded"))])
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0])
def test_the_cases_of_known_operators_pass_but_those_that_are_listed(group: list[str], part: str) -> None:
    cases = {name: case for module in group for name, case in _cases(module, part).items()}
    outcomes = {name: _outcome(case) for name, case in cases.items()}

    assert not {name: reason for name, reason in outcomes.items() if reason and not _listed(name)}
    assert not [name for name, reason in outcomes.items() if not reason and _listed(name)]

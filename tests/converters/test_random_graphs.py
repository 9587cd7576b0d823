"""Random graphs over the operators that the importer knows become models that compute what onnxruntime computes.

More of them, with what is found written as Python: python tests/support/random_graphs.py MINUTES [SEED]
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st
from random_graphs import judged, random_case

# Without a database and with examples that are always the same, so that no run fails by chance.
FEW = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


MANY = settings(FEW, max_examples=100)


@pytest.mark.filterwarnings("ignore")  # Keras warns of a softmax over one element, TensorFlow of many small functions
@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_random_graph_computes_what_it_did(many: bool) -> None:
    (MANY if many else FEW)(given(rng=st.randoms(use_true_random=False))(computes_what_it_did))()


def computes_what_it_did(rng: random.Random) -> None:
    case = random_case(rng)
    assume(case.model.graph.output)
    finding = judged(case)

    note(case.text)
    assert finding.kind != "fault", finding.reason

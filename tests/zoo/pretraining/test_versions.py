"""Versions of examples: what the least of batches is given, and what cannot have versions."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.data import ArrayExamples, Split
from zoo.errors import DataError, UsageError
from zoo.pretraining.auxiliary import AuxiliarySettings, pretrain_auxiliary
from zoo.pretraining.steps import inputs_of
from zoo.pretraining.versions import Exchanged, refuse_rotation
from zoo.training import FitSettings

NONE = np.arange(0)


def test_a_batch_of_one_takes_values_of_other_rows() -> None:
    x = np.random.default_rng(0).permutation(54).reshape(9, 6).astype(np.float32)
    layer = Exchanged(0.5, spare=x[1:])

    for row in (x[:1], x[8:]):
        good, bad = np.asarray(layer(row))[0]
        np.testing.assert_array_equal(good, row[0])
        assert all(value in column for value, column in zip(bad, x.T, strict=True))
    assert (np.asarray(layer(x[:1]))[0, 1] != x[0]).sum() == 3
    np.testing.assert_array_equal(layer(x), Exchanged(0.5)(x))  # others of the batch, where there are such


def test_values_are_exchanged_where_there_are_others() -> None:
    examples = ArrayExamples(np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32))
    settings = AuxiliarySettings(units=(4,))
    with pytest.raises(DataError, match="two training examples or more; data 'arrays' has 1"):
        pretrain_auxiliary(examples, Split(np.arange(1), np.arange(1, 5), NONE), None, settings)
    split = Split(np.arange(4), np.arange(4, 5), NONE)
    with pytest.raises(UsageError, match="batches of at least 2"):
        pretrain_auxiliary(examples, split, None, AuxiliarySettings(units=(4,), fit=FitSettings(batch_size=1)))
    inputs = inputs_of(examples, split, None)
    good, bad = np.asarray(settings.versions_of(inputs)(inputs.array(inputs.validation)))[0]
    assert not np.array_equal(good, bad)


def test_pictures_that_are_not_square_are_told_how_to_become_so() -> None:
    with pytest.raises(UsageError, match=r"these are 8x6.* --size 64 \(Python: size=\(64, 64\)\)"):
        refuse_rotation((8, 6, 1))

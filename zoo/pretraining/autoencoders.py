"""Stacked autoencoders, trained greedily: each layer on the cached features of the frozen layers below it.

Sources: Bengio, Lamblin, Popovici and Larochelle, "Greedy Layer-Wise Training of Deep Networks", NIPS 2007; denoising:
see `zoo.pretraining.corrupting`; the penalty that makes codes sparse: Lee, Ekanadham and Ng, "Sparse deep belief net
model for visual area V2", NIPS 2008, in the form of Ng's lecture notes "Sparse autoencoder" (CS294A, Stanford 2011).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.compiled import compiled
from zoo.data import Examples, Rows, Split
from zoo.features import FeatureCache, FeatureStats
from zoo.pretraining.columns import pieces
from zoo.pretraining.stack import AutoencoderSettings, Stack
from zoo.pretraining.steps import (
    Checkpoints,
    Inputs,
    Learned,
    OwnLoss,
    checkpoint_of,
    filter_pictures,
    inputs_of,
    some_cache,
)
from zoo.progress import Progress
from zoo.registry import InputSpec
from zoo.training import History, fit, joined, predict

_SHOWN = 12  # reconstructions
_SCORE = "squared_error"


def pretrain_autoencoder(
    examples: Examples,
    split: Split,
    spec: InputSpec | None,
    settings: AutoencoderSettings,
    *,
    cache: FeatureCache | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Learned:
    """Returns a stacked autoencoder: each layer a unit, and the decoder of all of them the last.

    Rows of numbers that are not all within 0..1 are standardized first, inside the model; their reconstructions are
    then of the standardized numbers.

    Args:
        examples: Labelled or not; labels are not looked at.
        split: Its training examples are learned from, those of validation say when to stop, those of test are left.
        spec: What the examples become; None: they are rows of numbers.
        settings: How.
        cache: Where the features of the frozen layers are kept; None: in a folder that is removed at the end.
        checkpoints: Where the checkpoint of a phase (`layer1`..., `stack`) is to be; None: nowhere.
        progress: Told about features and epochs.

    Raises:
        UsageError: Layers that do not suit the examples, or a loss that does not.
        DataError: Examples that cannot be used.
        TrainingError: The loss is not finite, or memory ran out.
        DiskError: Features or a checkpoint cannot be written.

    >>> from zoo.data import open_data, split_of
    >>> from zoo.pretraining.steps import picture_spec
    >>> from zoo.training import FitSettings
    >>> digits = open_data("digits")
    >>> settings = AutoencoderSettings(units=(32, 16), fit=FitSettings(epochs=2))
    >>> learned = pretrain_autoencoder(digits, split_of(digits), picture_spec(digits.shape), settings)
    >>> from zoo.surgery import split_units
    >>> [unit.name for unit in split_units(learned.model)], learned.model.output_shape
    (['layer1', 'layer2', 'decoder'], (None, 8, 8, 1))
    """
    inputs = inputs_of(examples, split, spec)
    stack = Stack(inputs, settings)
    stats: list[FeatureStats] = []
    with some_cache(cache) as features:
        histories = [
            _layer_trained(stack, number, inputs, features, stats, checkpoints, progress)
            for number in range(1, len(stack.blocks) + 1)
        ]
    figures = {f"layer{number}_{_SCORE}": _score(each) for number, each in enumerate(histories, 1)}
    history = joined(histories)
    if settings.finetune and len(stack.blocks) > 1:
        whole = stack.training_model()
        tuned = _fitted(whole, "stack", stack, inputs, None, checkpoints, progress)
        history = joined([*histories, tuned])
        figures[f"stack_{_SCORE}"] = _score(tuned)
        if not tuned.best_epoch:  # all layers as they were, which no one epoch has left
            history = dataclasses.replace(history, best_epoch=0)
            figures[f"stack_{_SCORE}"] = float(predict(whole, inputs.part(inputs.judged))[:, 1].mean(dtype=np.float64))
    model, telling = stack.models()
    figures |= _measured(stack, telling, inputs)
    return Learned(model, history, figures, _pictures(stack, model, inputs), tuple(stats))


def _layer_trained(
    stack: Stack,
    number: int,
    inputs: Inputs,
    cache: FeatureCache,
    stats: list[FeatureStats],
    checkpoints: Checkpoints | None,
    progress: Progress | None,
) -> History:
    """Trains a layer on what those below it put out; what it took to get that is added to `stats`."""
    x = None
    if number > 1:
        x = cache.features(stack.trunk(number - 1), inputs.examples, progress=progress)
        stats.append(x.stats)
    return _fitted(stack.training_model(number), f"layer{number}", stack, inputs, x, checkpoints, progress)


def _fitted(
    model: keras.Model,
    phase: str,
    stack: Stack,
    inputs: Inputs,
    x: Any,
    checkpoints: Checkpoints | None,
    progress: Progress | None,
) -> History:
    return fit(
        model, inputs.part(inputs.train, x), inputs.part(inputs.validation, x), stack.settings.fit, progress,
        objective=OwnLoss(_SCORE), checkpoint=checkpoint_of(checkpoints, phase), beat_start=phase == "stack",
    )  # fmt: skip


def _score(history: History) -> float:
    best = history.best
    return best.score if best.val_score is None else best.val_score


def _measured(stack: Stack, telling: keras.Model, inputs: Inputs) -> dict[str, float]:
    """Returns how well the whole stack restores the examples that it is judged by.

    `squared_error` is the mean over numbers; `explained` the share of their variance that is not lost; `activation` of
    a layer its mean.
    """
    run = compiled(telling)
    errors, sums, squares = 0.0, np.zeros(inputs.shape), 0.0
    activations = np.zeros(len(stack.blocks))
    rows = inputs.judged
    for piece in pieces(rows, max(math.prod(each.shape[1:]) for each in telling.outputs)):
        clean, *codes, restored = (np.asarray(each, np.float64) for each in run(inputs.x[piece]))
        errors += float(((restored - clean) ** 2).sum())
        sums += clean.sum(axis=0)
        squares += float((clean**2).sum())
        activations += [code.mean() * len(code) for code in codes]
    count = len(rows)
    variance = squares - float((sums**2).sum()) / count
    figures = {
        _SCORE: errors / (count * sums.size),
        "explained": 1 - errors / variance if variance > 0 else 0.0,
    }
    return figures | {f"layer{number}_activation": float(each) / count for number, each in enumerate(activations, 1)}


def _pictures(stack: Stack, model: keras.Model, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """Returns some examples, what is made of them, and what the lowest units look for; nothing where they are rows."""
    found: dict[str, NDArray[np.float32]] = {}
    filters = filter_pictures(np.asarray(stack.blocks[0].kernel.kernel), inputs.shape)
    if filters is not None:
        found["filters"] = filters
    if len(inputs.shape) == 3 and inputs.shape[2] in (1, 3):
        rows: Rows = inputs.judged[:_SHOWN]
        x = inputs.array(rows)
        found["examples"] = x
        if stack.settings.corruption:
            found["corrupted"] = stack.corrupted(x)
        found["reconstructions"] = np.asarray(model(x, training=False))
    return {name: np.clip(each, 0, 1) for name, each in found.items()}

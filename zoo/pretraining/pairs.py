"""Pairs: a net learns whether two examples are of the same identity, as two pictures of one person are.

It puts examples into a space in which the same lie close together and others apart; what it has learned for that
serves a task with other classes, too. Siamese nets: Bromley et al., "Signature Verification using a 'Siamese' Time
Delay Neural Network", NIPS 1993; the losses: see `zoo.pretraining.losses`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.data import Examples, Rows, Split
from zoo.errors import DataError, UsageError
from zoo.features import FeatureCache
from zoo.pretraining.losses import PAIR_LOSSES, PairLoss, PairObjective
from zoo.pretraining.networks import Network, refuse_layers
from zoo.pretraining.steps import (
    MOST_BYTES,
    Checkpoints,
    Inputs,
    Learned,
    checkpoint_of,
    filter_pictures,
    inputs_of,
)
from zoo.progress import Progress
from zoo.registry import InputSpec
from zoo.training import FitSettings, Part, fit

Identity = Literal["class", "group"]
IDENTITIES: tuple[Identity, ...] = get_args(Identity)

_MARGINS: dict[PairLoss, float] = {"contrastive": 1.0, "triplet": 0.2}  # of points on a unit sphere
_VERSIONS = 16  # partners that an example has, in as many epochs
_SHOWN = 12
_UNJUDGED = "No two {} have two validation examples each: nothing said when to stop; figures are of training examples."


@dataclass(frozen=True)
class PairSettings:
    """How pairs are made, and how a net learns from them.

    Attributes:
        units: Widths of dense layers, from below.
        conv: Filters of 3x3 convolutions, each followed by max pooling; they lie below the dense layers.
        activation: Of the layers.
        loss: `contrastive`: the same close together, others a margin apart; `triplet`: the same closer than others.
        margin: Between points of length 1; None: 1 of `contrastive`, a distance; 0.2 of `triplet`, of squared ones.
        embedding: Dimensions of the space.
        identity: What makes two examples the same: their `class` (the folder they lie in), or their `group` (as
            `open_data(..., group_by="person")` finds it: a column, or a part of each path).
        fit: How it is trained. The examples of a batch that are of other identities are what the others are.

    Raises:
        UsageError: A value that cannot be.
    """

    units: tuple[int, ...] = ()
    conv: tuple[int, ...] = ()
    activation: str = "relu"
    loss: PairLoss = "contrastive"
    margin: float | None = None
    embedding: int = 32
    identity: Identity = "class"
    fit: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        refuse_layers(self.units, self.conv, self.activation)
        if self.loss not in PAIR_LOSSES:
            raise UsageError(f"Expected a loss of {', '.join(PAIR_LOSSES)}; got {self.loss!r}.")
        if self.margin is not None and not 0 < self.margin < math.inf:
            raise UsageError(f"Expected a margin above 0; got {self.margin}.")
        if self.embedding < 2:
            raise UsageError(f"Expected a space of at least 2 dimensions; got embedding={self.embedding}.")
        if self.identity not in IDENTITIES:
            raise UsageError(f"Expected an identity of {' or '.join(IDENTITIES)}; got {self.identity!r}.")
        if self.fit.batch_size < 2:
            raise UsageError("Pairs want batches of at least 2, in which there are others; got batch_size=1.")

    @property
    def applied_margin(self) -> float:
        """The margin, as given or chosen."""
        return _MARGINS[self.loss] if self.margin is None else self.margin


def pretrain_pairs(
    examples: Examples,
    split: Split,
    spec: InputSpec | None,
    settings: PairSettings,
    *,
    cache: FeatureCache | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Learned:
    """Returns a net that puts the same close together: each layer a unit, and what makes points of length 1 the last.

    Rows of numbers that are not all within 0..1 are standardized first, inside the model. The `ranking` of the history
    is the share of others in a batch that are farther away than the partner: 0.5 where distances tell nothing.

    Args:
        examples: Of classes, or with groups.
        split: Its training examples are learned from, those of validation say when to stop, those of test are left.
        spec: What the examples become; None: they are rows of numbers.
        settings: How.
        cache: Not used: no layer is frozen.
        checkpoints: Where the checkpoint of the phase `pairs` is to be; None: nowhere.
        progress: Told about epochs.

    Raises:
        UsageError: Layers that do not suit the examples, or an identity that they do not have.
        DataError: There are no two identities with two examples each.
        TrainingError: The loss is not finite, or memory ran out.
        DiskError: A checkpoint cannot be written.

    >>> from zoo.data import open_data, split_of
    >>> from zoo.pretraining.steps import picture_spec
    >>> digits = open_data("digits:0-4")
    >>> settings = PairSettings(units=(32, 16), embedding=8, fit=FitSettings(epochs=2))
    >>> learned = pretrain_pairs(digits, split_of(digits), picture_spec(digits.shape), settings)
    >>> from zoo.surgery import split_units
    >>> [unit.name for unit in split_units(learned.model)], learned.model.output_shape
    (['layer1', 'layer2', 'embedding'], (None, 8))
    """
    inputs = inputs_of(examples, split, spec)
    same = identities(inputs.examples, settings.identity)
    seed = settings.fit.seed
    train, validation = paired_rows(inputs.train, same), paired_rows(inputs.validation, same)
    if not len(train):
        raise DataError(
            f"Expected two {_PLURAL[settings.identity]} or more with at least two training examples each; data "
            f"{examples.name!r} has none such. Take more examples, or another identity."
        )
    network = Network(
        inputs, settings.units, settings.conv, settings.activation, outputs=settings.embedding, name="embedding",
        after=[keras.layers.UnitNormalization(name="embedding_length1")], seed=seed,
    )  # fmt: skip
    x = Pairs(_held(inputs), [train, validation], same, seed)
    shuffled = np.random.default_rng([seed, 1]).permutation(validation)  # so that others are in every batch
    paths = inputs.examples.paths
    source = keras.Input((2, *inputs.shape))
    history = fit(
        keras.Model(source, network.of_each(source)), Part(x, same, train, _VERSIONS, paths),
        Part(x, same, shuffled, paths=paths), settings.fit, progress,
        objective=PairObjective(settings.loss, settings.applied_margin),
        checkpoint=checkpoint_of(checkpoints, "pairs"),
    )  # fmt: skip
    best = history.best
    figures = {
        "ranking": best.score if best.val_score is None else best.val_score,
        "chance": 0.5,
        "loss": best.loss if best.val_loss is None else best.val_loss,
        "identities": float(len(np.unique(same[train]))),
    }
    shown = validation if len(validation) else train
    pictures = _pictures(network, inputs, x, shown[:_SHOWN])
    warnings = () if len(validation) or not len(inputs.validation) else (_UNJUDGED.format(_PLURAL[settings.identity]),)
    return Learned(network.model, history, figures, pictures, warnings=warnings)


class Pairs:
    """Each example with another one of its identity, as `fit` takes them: [versions * n, 2, ...], made when asked for.

    Row i of version v is `i + v * n`; in another version an example has another partner, where its identity has
    enough of them. No partner is in another part.

    Args:
        x: The n examples, [n, ...].
        parts: Rows of each part, of identities that have two of them at least. For others there are no pairs.
        identities: int64 [n].
        seed: Of who is with whom.
    """

    def __init__(self, x: Any, parts: list[Rows], identities: NDArray[np.int64], seed: int) -> None:
        self._x, self._partners = x, np.tile(np.arange(len(x)), (_VERSIONS, 1))
        for version, partners in enumerate(self._partners):
            rng = np.random.default_rng([seed, 2, version])
            for rows in parts:
                _pair_up(partners, rows, identities, rng)
        self.shape = (_VERSIONS * len(x), 2, *x.shape[1:])
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self._x) * _VERSIONS

    def __getitem__(self, rows: Rows) -> NDArray[np.float32]:
        """Returns pairs, [len(rows), 2, ...]."""
        first, second = rows % len(self._x), self._partners.reshape(-1)[rows]
        return np.stack([self._x[first], self._x[second]], axis=1)


def identities(examples: Examples, identity: Identity) -> NDArray[np.int64]:
    """Returns a number for each example, equal for those that are the same: int64 [n].

    Raises:
        UsageError: The examples have no such identity.
    """
    if identity == "group":
        if examples.groups is None:
            raise UsageError(
                f"Data {examples.name!r} has no groups that could be identities; name a column, or a part of each "
                "path: --group-by person (Python: open_data(..., group_by='person'))."
            )
        return np.asarray(examples.groups, np.int64)
    if examples.task != "classification" or len(examples.classes) < 2:
        found = "1 class" if examples.task == "classification" else f"labels of a {examples.task} task"
        raise UsageError(
            f"Pairs want two classes or more, which say what is the same; data {examples.name!r} has {found}. Use "
            "another method, or groups: --identity group --group-by person (Python: identity='group')."
        )
    return np.asarray(examples.labels, np.int64)


def paired_rows(rows: Rows, identities: NDArray[np.int64]) -> Rows:
    """Returns those of `rows` whose identity has two of them at least; none where that is one identity alone.

    >>> paired_rows(np.arange(6), np.array([4, 7, 4, 9, 7, 7])).tolist()
    [0, 1, 2, 4, 5]
    """
    _, number, count = np.unique(identities[rows], return_inverse=True, return_counts=True)
    return rows[count[number] > 1] if (count > 1).sum() > 1 else rows[:0]


_PLURAL: dict[Identity, str] = {"class": "classes", "group": "groups"}


def _pair_up(partners: NDArray[np.int64], rows: Rows, identities: NDArray[np.int64], rng: np.random.Generator) -> None:
    """Gives each of `rows` the next of its identity, in a random circle."""
    order = rng.permutation(rows)
    order = order[np.argsort(identities[order], kind="stable")]
    ends = np.flatnonzero(np.diff(identities[order])) + 1
    for circle in np.split(order, ends):
        partners[circle] = np.roll(circle, -1)


def _held(inputs: Inputs) -> Any:
    """Returns the numbers of all examples: in memory where there is room, for each is asked for many times."""
    size = 4 * math.prod((len(inputs.examples), *inputs.shape))
    return inputs.array(np.arange(len(inputs.examples))) if size <= MOST_BYTES else inputs.x


def _pictures(network: Network, inputs: Inputs, pairs: Pairs, rows: Rows) -> dict[str, NDArray[np.float32]]:
    """Returns some pairs and the lowest filters; nothing where examples are rows."""
    found: dict[str, NDArray[np.float32]] = {}
    filters = filter_pictures(network.kernel, inputs.shape)
    if filters is not None:
        found["filters"] = filters
    if len(inputs.shape) == 3 and inputs.shape[2] in (1, 3):
        shown = pairs[rows]
        found |= {"examples": shown[:, 0], "same": shown[:, 1]}
    return {name: np.clip(each, 0, 1) for name, each in found.items()}

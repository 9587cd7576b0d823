"""Auxiliary tasks whose labels come for free: a net learns to tell good examples from corrupted ones.

It is a classifier of what was done to an example, or gives scores: a good example is to be a margin above a bad one.
What is done, and where that comes from, see `zoo.pretraining.versions`; the losses, `zoo.pretraining.losses`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.data import Examples, Split
from zoo.data.examples import are_texts
from zoo.errors import DataError, UsageError
from zoo.features import FeatureCache
from zoo.pretraining.losses import VersionsObjective
from zoo.pretraining.networks import Network, Shape, refuse_layers
from zoo.pretraining.steps import Checkpoints, Inputs, Learned, checkpoint_of, filter_pictures, inputs_of
from zoo.pretraining.versions import (
    Exchanged,
    Replaced,
    Rotated,
    Shuffled,
    Versions,
    refuse_exchange,
    refuse_patches,
    refuse_rotation,
)
from zoo.pretraining.word_network import WordNetwork
from zoo.pretraining.words import Words, words_of
from zoo.progress import Progress
from zoo.registry import InputSpec
from zoo.training import FitSettings, fit

AuxiliaryTask = Literal["rotated", "shuffled", "exchanged", "replaced"]
AuxiliaryLoss = Literal["classification", "margin"]
AUXILIARY_TASKS: tuple[AuxiliaryTask, ...] = get_args(AuxiliaryTask)
AUXILIARY_LOSSES: tuple[AuxiliaryLoss, ...] = get_args(AuxiliaryLoss)

_SHOWN = 12
_SPARE = 64  # rows, whose values stand for those of others where a batch has but one example


@dataclass(frozen=True)
class AuxiliarySettings:
    """What is done to examples, and how a net learns to see it.

    Attributes:
        units: Widths of dense layers, from below; of texts the first is that of a word, below all else.
        conv: Filters of 3x3 convolutions, each followed by max pooling, below the dense layers; of texts filters over
            three words, and the mean over all words follows.
        activation: Of the layers.
        task: What is done: pictures `rotated` by 90, 180 and 270 degrees; their patches `shuffled`; values of rows
            `exchanged` with other examples; words of texts `replaced` by others. None: `rotated` for square pictures,
            `shuffled` for others, `exchanged` for rows, `replaced` for texts.
        loss: `classification`: the net says which of these an example is (of four rotations, or good or bad);
            `margin`: it gives scores, and that of the good example is to be above that of each bad one.
        margin: By how much, of `margin`.
        patches: How many in a row, and in a column, are shuffled.
        share: Of the columns that have values exchanged, or of the words that are replaced, above 0 to 1.
        vocabulary: How many words texts have at most, the most frequent; all others are one more, or none where the
            training texts have no others: nothing could be learned of them.
        fit: How it is trained.

    Raises:
        UsageError: A value that cannot be.
    """

    units: tuple[int, ...] = ()
    conv: tuple[int, ...] = ()
    activation: str = "relu"
    task: AuxiliaryTask | None = None
    loss: AuxiliaryLoss = "classification"
    margin: float = 1.0
    patches: int = 2
    share: float = 0.3
    vocabulary: int = 10_000
    fit: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        refuse_layers(self.units, self.conv, self.activation)
        if self.task is not None and self.task not in AUXILIARY_TASKS:
            raise UsageError(f"Expected a task of {', '.join(AUXILIARY_TASKS)}; got {self.task!r}.")
        if self.loss not in AUXILIARY_LOSSES:
            raise UsageError(f"Expected a loss of {', '.join(AUXILIARY_LOSSES)}; got {self.loss!r}.")
        if not 0 < self.margin < math.inf:
            raise UsageError(f"Expected a margin above 0; got {self.margin}.")
        if self.patches < 2:
            raise UsageError(f"Expected at least 2 patches in a row; got {self.patches}.")
        if not 0 < self.share <= 1:
            raise UsageError(f"Expected a share of columns above 0, at most 1; got share={self.share}.")
        if self.vocabulary < 1:
            raise UsageError(f"Expected a vocabulary of at least 1 word; got {self.vocabulary}.")

    def versions(self, shape: Shape, spare: NDArray[np.float32] | None = None) -> Versions:
        """Returns what makes the versions of pictures or rows of a shape.

        Args:
            shape: Of one.
            spare: As of `zoo.pretraining.versions.Exchanged`.

        Raises:
            UsageError: The task does not suit them.
        """
        if self.task == "replaced":
            raise UsageError(f"Replaced words want texts; the examples have shape {list(shape)}. Leave the task away.")
        is_square = len(shape) == 3 and shape[0] == shape[1]
        task = self.task or ("exchanged" if len(shape) == 1 else "rotated" if is_square else "shuffled")
        if task == "rotated":
            refuse_rotation(shape)
            return Rotated(self.fit.seed)
        if task == "shuffled":
            refuse_patches(shape, self.patches)
            return Shuffled(self.patches, self.fit.seed)
        refuse_exchange(shape)
        if self.fit.batch_size < 2:
            raise UsageError(
                "Exchanged values want batches of at least 2, in which there are others: --batch-size 32 (Python: "
                "batch_size); got batch_size=1."
            )
        return Exchanged(self.share, self.fit.seed, spare)

    def versions_of(self, inputs: Inputs) -> Versions:
        """Returns what makes the versions of examples.

        Raises:
            UsageError: The task does not suit them.
            DataError: There is but one to exchange values with.
        """
        if not isinstance(inputs, Words):
            rng = np.random.default_rng([self.fit.seed, len(inputs.train)])
            some = inputs.array(rng.permutation(inputs.train)[:_SPARE]) if len(inputs.shape) == 1 else None
            versions = self.versions(inputs.shape, some)
            if isinstance(versions, Exchanged) and len(inputs.train) < 2:
                raise DataError(
                    f"Exchanged values want two training examples or more; data {inputs.examples.name!r} has 1."
                )
            return versions
        if self.task not in (None, "replaced"):
            raise UsageError(f"Texts have their words replaced; they cannot be {self.task}. Leave the task away.")
        return Replaced(inputs.counts, self.share, self.fit.seed)


def pretrain_auxiliary(
    examples: Examples,
    split: Split,
    spec: InputSpec | None,
    settings: AuxiliarySettings,
    *,
    cache: FeatureCache | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Learned:
    """Returns a net that tells good examples from corrupted ones: each layer a unit, and the task's own the last.

    That gives the probability of each version, the good one first; or a score. Rows of numbers that are not all within
    0..1 are standardized first, inside the model. Texts become numbers of words inside it, too.

    Args:
        examples: Labelled or not; labels are not looked at.
        split: Its training examples are learned from, those of validation say when to stop, those of test are left.
        spec: What the examples become; None: they are rows of numbers.
        settings: How.
        cache: Not used: no layer is frozen.
        checkpoints: Where the checkpoint of the phase `task` is to be; None: nowhere.
        progress: Told about epochs.

    Raises:
        UsageError: A task or layers that do not suit the examples.
        DataError: Examples that cannot be used.
        TrainingError: The loss is not finite, or memory ran out.
        DiskError: A checkpoint cannot be written.

    >>> from zoo.data import open_data, split_of
    >>> from zoo.pretraining.steps import picture_spec
    >>> digits = open_data("digits")
    >>> settings = AuxiliarySettings(units=(32, 16), fit=FitSettings(epochs=2))
    >>> learned = pretrain_auxiliary(digits, split_of(digits), picture_spec(digits.shape), settings)
    >>> from zoo.surgery import split_units
    >>> [unit.name for unit in split_units(learned.model)], learned.model.output_shape
    (['layer1', 'layer2', 'task'], (None, 4))
    """
    is_text = are_texts(examples)
    inputs = words_of(examples, split, settings.vocabulary) if is_text else inputs_of(examples, split, spec)
    versions = settings.versions_of(inputs)
    ranks = settings.loss == "margin"
    network = _network(inputs, settings, outputs=1 if ranks else versions.count)
    source = keras.Input(inputs.shape, dtype=inputs.x.dtype.name)
    history = fit(
        keras.Model(source, network.of_each(versions(source))),
        inputs.part(inputs.train), inputs.part(inputs.validation), settings.fit, progress,
        objective=VersionsObjective(settings.margin if ranks else None), checkpoint=checkpoint_of(checkpoints, "task"),
    )  # fmt: skip
    best = history.best
    figures = {
        "accuracy": best.score if best.val_score is None else best.val_score,
        "chance": 0.5 if ranks else 1 / versions.count,
        "loss": best.loss if best.val_loss is None else best.val_loss,
    }
    if isinstance(inputs, Words):
        figures["vocabulary"] = float(len(inputs.counts) - 2)
    return Learned(network.model, history, figures, _pictures(network, versions, inputs))


def _network(inputs: Inputs, settings: AuxiliarySettings, outputs: int) -> Network | WordNetwork:
    """Returns the net that is trained; of several outputs the model for single examples has the probabilities."""
    widths = settings.units, settings.conv, settings.activation
    options: dict[str, Any] = {
        "outputs": outputs, "name": "task", "seed": settings.fit.seed,
        "last": [keras.layers.Softmax(name="task_probabilities")] if outputs > 1 else [],
    }  # fmt: skip
    return WordNetwork(inputs, *widths, **options) if isinstance(inputs, Words) else Network(inputs, *widths, **options)


def _pictures(network: Network | WordNetwork, versions: Versions, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """Returns some examples, a corrupted version of each, and the lowest filters; nothing of what are no pictures."""
    found: dict[str, NDArray[np.float32]] = {}
    filters = None if isinstance(network, WordNetwork) else filter_pictures(network.kernel, inputs.shape)
    if filters is not None:
        found["filters"] = filters
    if len(inputs.shape) == 3 and inputs.shape[2] in (1, 3):
        x = inputs.array(inputs.judged[:_SHOWN])
        found |= {"examples": x, "corrupted": np.asarray(versions(x))[:, 1]}
    return {name: np.clip(each, 0, 1) for name, each in found.items()}

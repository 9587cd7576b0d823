"""A deep belief network: restricted Boltzmann machines, each trained on the hidden units of the one below it.

Their weights become those of Dense layers with a sigmoid. Hinton, Osindero and Teh, "A Fast Learning Algorithm for Deep
Belief Nets", Neural Computation 18, 2006; Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural
Networks", Science 313, 2006; Gaussian visible units: Hinton 2010 (see `zoo.pretraining.rbm`), section 13.2.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.compiled import compiled
from zoo.data import Examples, Split
from zoo.errors import UsageError
from zoo.features import FeatureCache, FeatureStats
from zoo.pretraining.columns import Columns, columns_of, pieces
from zoo.pretraining.contrastive_divergence import RBMSettings
from zoo.pretraining.rbm import RBM, VisibleKind, new_rbm
from zoo.pretraining.rbm_training import Seen, final_figures, train_rbm
from zoo.pretraining.steps import Checkpoints, Inputs, Learned, checkpoint_of, filter_pictures, inputs_of, some_cache
from zoo.progress import Progress
from zoo.registry import InputSpec
from zoo.surgery import Trunk, whole_trunk
from zoo.training import History, joined

_SHOWN = 12  # reconstructions
_LEAST_DEVIATION = 0.1  # of a pixel, as a share of the mean one: what is nearly always black would else be all noise


def pretrain_rbm(
    examples: Examples,
    split: Split,
    spec: InputSpec | None,
    settings: RBMSettings,
    *,
    cache: FeatureCache | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Learned:
    """Returns a deep belief network: a Dense layer with a sigmoid for each machine, and a decoder as the last unit.

    The decoder takes means down through all machines, and puts out what the examples are. For Gaussian visible units
    the model standardizes each number itself.

    Args:
        examples: Labelled or not; labels are not looked at.
        split: Its training examples are learned from, those of validation are watched, those of test are left.
        spec: What the examples become; None: they are rows of numbers.
        settings: How.
        cache: Where the features of the layers below are kept; None: in a folder that is removed at the end.
        checkpoints: Where the checkpoint of a phase (`layer1`...) is to be; None: nowhere.
        progress: Told about features and epochs.

    Raises:
        UsageError: Visible units that do not suit the examples.
        DataError: Examples that cannot be used.
        TrainingError: Weights or figures are not finite, or memory ran out.
        DiskError: Features or a checkpoint cannot be written.

    >>> from zoo.data import open_data, split_of
    >>> from zoo.pretraining.steps import picture_spec
    >>> digits = open_data("digits")
    >>> settings = RBMSettings(units=(32, 16), epochs=2)
    >>> learned = pretrain_rbm(digits, split_of(digits), picture_spec(digits.shape), settings)
    >>> from zoo.surgery import split_units
    >>> [unit.name for unit in split_units(learned.model)], learned.model.output_shape
    (['layer1', 'layer2', 'decoder'], (None, 8, 8, 1))
    """
    inputs = inputs_of(examples, split, spec)
    network = BeliefNetwork(inputs, settings)
    histories: list[History] = []
    figures: dict[str, float] = {}
    stats: list[FeatureStats] = []
    with some_cache(cache) as features:
        for number in range(1, len(settings.units) + 1):
            x: Any = inputs.x
            if number > 1:
                x = features.features(network.trunk(), inputs.examples, progress=progress)
                stats.append(x.stats)
            first, seen = network.next_machine(x)
            checkpoint = checkpoint_of(checkpoints, f"layer{number}")
            machine, history = train_rbm(first, seen, settings, progress, layer=number, checkpoint=checkpoint)
            network.machines.append(machine)
            histories.append(history)
            told = final_figures(machine, seen, settings.seed)
            figures |= {f"layer{number}_{name}": value for name, value in told.items()}
    model = network.model()
    figures["squared_error"] = _squared_error(model, inputs, network.units_of_error())
    return Learned(model, joined(histories), figures, _pictures(network, model), tuple(stats))


class BeliefNetwork:
    """The machines that are trained so far, and the models that they make.

    Args:
        inputs: What the lowest machine sees.
        settings: What it is to be.

    Attributes:
        machines: From the input up; whoever trains one appends it.

    Raises:
        UsageError: Visible units of 0 or 1, and numbers that are no probabilities.
    """

    def __init__(self, inputs: Inputs, settings: RBMSettings) -> None:
        self.inputs, self._settings = inputs, settings
        columns = inputs.columns()
        self._visible = visible_kind(columns, settings.visible, inputs.examples.name)
        self._columns = columns if self._visible == "bernoulli" else _standardizable(columns, inputs.spec)
        self.machines: list[RBM] = []

    def next_machine(self, x: Any) -> tuple[RBM, Seen]:
        """Returns the machine to train next, as it begins, and what it sees: `x`, what the trained ones put out."""
        parts = self.inputs.part(self.inputs.train, x), self.inputs.part(self.inputs.validation, x)
        number = len(self.machines)
        rng = np.random.default_rng([self._settings.seed, number])
        hidden = self._settings.units[number]
        if number:
            return new_rbm(columns_of(x, self.inputs.train).mean, hidden, "bernoulli", rng), Seen(*parts)
        if self._visible == "bernoulli":
            return new_rbm(self._columns.mean, hidden, "bernoulli", rng), Seen(*parts)
        scale, offset = self._standardization()
        zeros = np.zeros(len(scale))
        return new_rbm(zeros, hidden, "gaussian", rng), Seen(*parts, scale.astype("f4"), offset.astype("f4"))

    def trunk(self) -> Trunk:
        """Returns the trained layers as a trunk."""
        source, code = self._encoded()
        return whole_trunk(keras.Model(source, code, name="belief_network"), self.inputs.spec)

    def model(self) -> keras.Model:
        """Returns the layers and, as the last unit, the decoder."""
        source, code = self._encoded()
        layers, weights = [], []
        for number, machine in list(enumerate(self.machines, 1))[::-1]:
            activation = "linear" if machine.visible == "gaussian" else "sigmoid"
            layers.append(keras.layers.Dense(len(machine.visible_bias), activation, name=f"decoder{number}"))
            weights.append(self._downwards(machine))
        dense = list(layers)
        if len(self.inputs.shape) > 1:
            layers.append(keras.layers.Reshape(self.inputs.shape, name="decoder_shape"))
        decoder = keras.Sequential([keras.Input(code.shape[1:], name="codes"), *layers], name="decoder")
        model = keras.Model(source, decoder(code), name="belief_network")
        for layer, given in zip(dense, weights, strict=True):
            layer.set_weights(given)
        return model

    def units_of_error(self) -> NDArray[np.float64]:
        """Returns what differences between numbers are divided by, before they are squared: float64 [numbers].

        As an autoencoder standardizes them: rows that are not all within 0..1, and nothing else.
        """
        are_rows = self.inputs.spec is None and not self._columns.are_shares
        return self._columns.divisors if are_rows else np.ones(len(self._columns.mean))

    def _encoded(self) -> tuple[Any, Any]:
        source = x = keras.Input(self.inputs.shape, name="examples")
        if len(self.inputs.shape) > 1:
            x = keras.layers.Flatten(name="flatten")(x)
        if self._visible == "gaussian":
            scale, offset = self._standardization()
            x = keras.layers.Rescaling(scale.tolist(), offset.tolist(), name="standardize")(x)
        for number, machine in enumerate(self.machines, 1):
            dense = keras.layers.Dense(len(machine.hidden_bias), "sigmoid", name=f"layer{number}")
            x = dense(x)
            dense.set_weights([machine.weights, machine.hidden_bias])
        return source, x

    def _downwards(self, machine: RBM) -> list[NDArray[Any]]:
        """Returns the kernel and the bias of a decoder; that of Gaussian units also undoes the standardization."""
        if machine.visible == "bernoulli":
            return [machine.weights.T, machine.visible_bias]
        columns = self._columns
        return [machine.weights.T * columns.deviation, machine.visible_bias * columns.deviation + columns.mean]

    def _standardization(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns what each number is multiplied by, and what is added then."""
        scale = 1 / self._columns.deviation
        return scale, -self._columns.mean * scale


def visible_kind(columns: Columns, wanted: VisibleKind | None, name: str) -> VisibleKind:
    """Returns what the lowest visible units are: as wanted, or `bernoulli` where all numbers are within 0..1.

    Raises:
        UsageError: `bernoulli` is wanted of other numbers.
    """
    fits = columns.are_shares
    if wanted == "bernoulli" and not fits:
        raise UsageError(
            f"Bernoulli visible units want numbers 0..1; those of {name!r} are {columns.low:g} to {columns.high:g}. "
            "Use --visible gaussian (Python: visible), which standardizes them."
        )
    return wanted or ("bernoulli" if fits else "gaussian")


def _standardizable(columns: Columns, spec: InputSpec | None) -> Columns:
    """Returns columns whose deviations can be divided by.

    Pixels, which are all of one kind, have at least a share of their common deviation.
    """
    deviation = columns.deviation
    if spec is not None:
        deviation = np.maximum(deviation, _LEAST_DEVIATION * math.sqrt(float((deviation**2).mean())))
    return replace(columns, deviation=replace(columns, deviation=deviation).divisors)


def _squared_error(model: keras.Model, inputs: Inputs, units: NDArray[np.float64]) -> float:
    """Returns how far the whole network's reconstructions are off: the mean over numbers of the judged examples.

    Args:
        model: The network.
        inputs: The examples.
        units: Of the differences, [numbers].
    """
    restore, rows, total = compiled(model), inputs.judged, 0.0
    for piece in pieces(rows, len(units)):
        x = inputs.x[piece]
        difference = np.asarray(restore(x)).astype(np.float64) - x
        total += float(((difference.reshape(len(piece), -1) / units) ** 2).sum())
    return total / (len(rows) * len(units))


def _pictures(network: BeliefNetwork, model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Returns the lowest filters, some examples and their reconstructions; nothing where examples are rows."""
    inputs = network.inputs
    filters = filter_pictures(network.machines[0].weights, inputs.shape)
    if filters is None:
        return {}
    x = inputs.array(inputs.judged[:_SHOWN])
    found = {"filters": filters, "examples": x, "reconstructions": np.asarray(model(x, training=False))}
    return {name: np.clip(each, 0, 1) for name, each in found.items()}

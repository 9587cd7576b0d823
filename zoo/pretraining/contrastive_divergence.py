"""Contrastive divergence: how a restricted Boltzmann machine learns; nothing here knows TensorFlow.

The gradient of log p(v) is the mean of v h over the data less that over the machine's own distribution. The second mean
is taken of Gibbs chains after k steps: chains that begin at the examples (CD-k: Hinton, "Training Products of Experts
by Minimizing Contrastive Divergence", Neural Computation 14, 2002), or that go on from update to update (persistent CD:
Tieleman, "Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient", ICML 2008). Step
sizes, momentum and weight decay are as of Hinton 2010 (see `zoo.pretraining.rbm`), sections 7 to 10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import Rows
from zoo.errors import UsageError
from zoo.pretraining.rbm import RBM, VISIBLE_KINDS, Floats, VisibleKind


@dataclass(frozen=True)
class RBMSettings:
    """How restricted Boltzmann machines, one on the other, are trained.

    Attributes:
        units: Hidden units of each machine, from below.
        visible: What the visible units of the lowest one are: `bernoulli`, for numbers 0..1; `gaussian`, for numbers
            that are standardized first; None: `bernoulli` where all numbers are within 0..1. Those of the others are
            always `bernoulli`.
        steps: Gibbs steps of an update: the k of CD-k.
        persistent: Whether the chains go on from update to update.
        sample_visible: Whether chains draw visible units: with many steps the gradient is then exactly that of the
            likelihood. Else these take their means, which makes less noise, and better features of gray pixels
            (Hinton 2010, section 3).
        epochs: Passes over the examples, of each machine.
        batch_size: Examples an update, and chains that go on.
        learning_rate: None: 0.05, but 0.005 where the visible units are `gaussian`, and a fifth of that where chains
            go on: they must mix faster than the weights change (Tieleman 2008).
        momentum: Share of an update that the next one repeats; at most 0.5 in the first 5 epochs.
        weight_decay: Share of each weight that an update takes away, times the learning rate.
        seed: Of weights, order and chains.

    Raises:
        UsageError: A value that cannot be.
    """

    units: tuple[int, ...] = ()
    visible: VisibleKind | None = None
    steps: int = 1
    persistent: bool = False
    sample_visible: bool = False
    epochs: int = 100
    batch_size: int = 32
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0002
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.units or any(width < 1 for width in self.units):
            raise UsageError(
                f"Expected layers of at least 1 unit: --units 300,100 (Python: units); got {list(self.units)}."
            )
        if self.visible is not None and self.visible not in VISIBLE_KINDS:
            raise UsageError(f"Expected visible units of {' or '.join(VISIBLE_KINDS)}; got {self.visible!r}.")
        for name in ("steps", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"Expected {name} of at least 1; got {getattr(self, name)}.")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise UsageError(f"Expected a learning rate above 0; got {self.learning_rate}.")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"Expected a momentum of 0 to below 1; got {self.momentum}.")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"Expected a weight decay of 0 or more; got {self.weight_decay}.")

    def applied_learning_rate(self, visible: VisibleKind) -> float:
        """Returns the learning rate of a machine with such visible units, as given or chosen."""
        chosen = (0.005 if visible == "gaussian" else 0.05) / (5 if self.persistent else 1)
        return chosen if self.learning_rate is None else self.learning_rate


class Divergence:
    """A machine that learns by contrastive divergence.

    In NumPy: on one core this took 0.4 to 0.8 of the processor time of compiled TensorFlow, for 64 to 784 visible units
    and batches of 10 to 100, and nothing has to be compiled.

    Args:
        rbm: What it begins with.
        settings: How it learns.
        scale: [visible]: what the numbers of a flattened example are multiplied by
        offset: and what is added to them then, to become visible units.

    Attributes:
        arrays: All that the next update depends on, float32: the machine, its velocities, the chains that go on.
    """

    def __init__(
        self,
        rbm: RBM,
        settings: RBMSettings,
        scale: Floats | float = 1.0,
        offset: Floats | float = 0.0,
    ) -> None:
        self._kind, self._settings = rbm.visible, settings
        self._scale, self._offset = np.float32(scale), np.float32(offset)
        self._rate = settings.applied_learning_rate(rbm.visible)
        machine = [np.array(each, np.float32, order="C") for each in (rbm.weights, rbm.visible_bias, rbm.hidden_bias)]
        self._weights, self._visible, self._hidden = machine
        self._velocities = [np.zeros_like(each) for each in machine] if settings.momentum else []
        self.arrays = [*machine, *self._velocities]
        if settings.persistent:
            self._chains = np.zeros((settings.batch_size, len(self._hidden)), np.float32)
            self.arrays.append(self._chains)
        self._gradient = np.empty_like(self._weights)

    def rbm(self) -> RBM:
        """Returns the machine as it is now, in float32."""
        return RBM(self._weights.copy(), self._visible.copy(), self._hidden.copy(), self._kind)

    def updates(self, x: NDArray[Any], order: Rows, rng: np.random.Generator, momentum: float) -> None:
        """Makes an update for each batch of rows `order` of `x` [n, ...]; chains draw from `rng`."""
        for begin in range(0, len(order), self._settings.batch_size):
            rows = x[order[begin : begin + self._settings.batch_size]]
            v = rows.reshape(len(rows), len(self._visible)) * self._scale + self._offset
            self._update(self.gradients(v, rng), momentum)

    def gradients(self, v: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """Returns the estimated gradients of the mean log p(v): of the weights and of both biases.

        The first is in memory that the next call uses again.

        Args:
            v: float32 [n, visible].
            rng: Chains draw from it.
        """
        count, chains = len(v), self._settings.batch_size if self._settings.persistent else len(v)
        hidden = np.empty((count + chains, len(self._hidden)), np.float32)
        dreamt = hidden[count:]
        with np.errstate(over="ignore"):  # in the exponential of a sigmoid, which is 0 then
            if self._settings.persistent:
                seen = self._walked(self._chains, rng)
                both = np.concatenate([v, seen])
                self._hidden_means(both, hidden)
                np.less(rng.random(dreamt.shape, np.float32), dreamt, out=self._chains)
            else:
                self._hidden_means(v, hidden[:count])
                seen = self._walked(_drawn(hidden[:count], rng), rng)
                self._hidden_means(seen, dreamt)
                both = np.concatenate([v, seen])
        hidden[:count] *= np.float32(1 / count)
        dreamt *= np.float32(-1 / chains)
        np.matmul(both.T, hidden, out=self._gradient)
        visible = v.sum(axis=0) * np.float32(1 / count) - seen.sum(axis=0) * np.float32(1 / chains)
        return self._gradient, visible, hidden.sum(axis=0)

    def _walked(self, h: Floats, rng: np.random.Generator) -> Floats:
        """Returns the visible units of chains after k steps down from hidden units `h`."""
        seen = self._visible_units(h, rng)
        for _ in range(self._settings.steps - 1):
            means = self._hidden_means(seen, np.empty((len(seen), len(self._hidden)), np.float32))
            seen = self._visible_units(_drawn(means, rng), rng)
        return seen

    def _hidden_means(self, v: Floats, out: Floats) -> Floats:
        np.matmul(v, self._weights, out=out)
        out += self._hidden
        return _sigmoid_of(out)

    def _visible_units(self, h: Floats, rng: np.random.Generator) -> Floats:
        seen = h @ self._weights.T
        seen += self._visible
        if self._kind == "gaussian":
            return seen + rng.standard_normal(seen.shape, np.float32) if self._settings.sample_visible else seen
        means = _sigmoid_of(seen)
        return _drawn(means, rng) if self._settings.sample_visible else means

    def _update(self, gradients: tuple[Floats, Floats, Floats], momentum: float) -> None:
        if self._settings.weight_decay:
            np.subtract(gradients[0], np.float32(self._settings.weight_decay) * self._weights, out=gradients[0])
        for number, gradient in enumerate(gradients):
            step = np.multiply(gradient, np.float32(self._rate), out=gradient)
            if self._velocities:
                self._velocities[number] *= np.float32(momentum)
                self._velocities[number] += step
                step = self._velocities[number]
            self.arrays[number] += step


def _sigmoid_of(x: Floats) -> Floats:
    """Returns the sigmoid of `x`, in its memory."""
    np.negative(x, out=x)
    np.exp(x, out=x)
    x += 1
    return np.reciprocal(x, out=x)


def _drawn(means: Floats, rng: np.random.Generator) -> Floats:
    """Returns units that are 1 with the probabilities `means`, and else 0: float32."""
    units = rng.random(means.shape, np.float32)
    return np.less(units, means, out=units)

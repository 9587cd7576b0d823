"""Restricted Boltzmann machines: their probabilities, and how good they are; nothing here trains or knows TensorFlow.

A machine gives visible units v and binary hidden units h the energy (Smolensky 1986; Hinton 2010, sections 2 and 13)

    E(v, h) = -b.v - c.h - v.W.h                     visible units 0 or 1 (`bernoulli`)
    E(v, h) = |v - b|^2 / 2 - c.h - v.W.h            visible units that are real, of variance 1 (`gaussian`)

and the probability exp(-E(v, h)) / Z. Numbers between 0 and 1 in binary units stand for probabilities of 1.

Hinton, "A Practical Guide to Training Restricted Boltzmann Machines", UTML TR 2010-003.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError

VisibleKind = Literal["bernoulli", "gaussian"]
VISIBLE_KINDS: tuple[VisibleKind, ...] = get_args(VisibleKind)
EXACT_UNITS = 20  # binary units of which all states are gone through

Floats = NDArray[np.floating[Any]]

_VALUES = 1 << 22  # held at a time
_TAIL = 8.0  # deviations of a normal distribution beyond which nothing is left of it in float64


@dataclass(frozen=True)
class RBM:
    """A restricted Boltzmann machine.

    Attributes:
        weights: [visible, hidden].
        visible_bias: [visible].
        hidden_bias: [hidden].
        visible: What the visible units are.

    >>> machine = RBM(np.zeros((3, 2)), np.zeros(3), np.zeros(2))
    >>> machine.hidden_means(np.ones((1, 3))).tolist()
    [[0.5, 0.5]]
    """

    weights: Floats
    visible_bias: Floats
    hidden_bias: Floats
    visible: VisibleKind = "bernoulli"

    @property
    def is_small(self) -> bool:
        """Whether `log_partition` can be had."""
        return self.enumerated_units <= EXACT_UNITS

    def hidden_means(self, v: Floats) -> Floats:
        """Returns the probability that each hidden unit is 1, [n, hidden], given visible units [n, visible]."""
        return _sigmoid(v @ self.weights + self.hidden_bias)

    def visible_means(self, h: Floats) -> Floats:
        """Returns the mean of each visible unit, [n, visible], given hidden units [n, hidden]."""
        inputs = h @ self.weights.T + self.visible_bias
        return inputs if self.visible == "gaussian" else _sigmoid(inputs)

    def reconstructed(self, v: Floats) -> Floats:
        """Returns what the means of the hidden units, given `v`, give as means of the visible ones: [n, visible]."""
        return self.visible_means(self.hidden_means(v))

    def free_energy(self, v: Floats) -> NDArray[np.float64]:
        """Returns F(v) with exp(-F(v)) = sum over h of exp(-E(v, h)): float64 [n], of visible units [n, visible]."""
        v = v.astype(np.float64, copy=False)
        hidden = _softplus(v @ self.weights + self.hidden_bias).sum(axis=1)
        if self.visible == "gaussian":
            return np.asarray(0.5 * ((v - self.visible_bias) ** 2).sum(axis=1) - hidden)
        return np.asarray(-(v @ self.visible_bias) - hidden)

    def log_partition(self) -> float:
        """Returns log Z exactly, by going through all states of the smaller layer of binary units.

        Raises:
            UsageError: There are more than `EXACT_UNITS` of them.
        """
        count = self.enumerated_units
        if count > EXACT_UNITS:
            raise UsageError(
                f"All states of at most {EXACT_UNITS} binary units can be gone through; the smaller layer of this "
                f"machine has {count}. Its pseudo-likelihood can be had."
            )
        hidden = self.visible == "gaussian" or len(self.hidden_bias) <= len(self.visible_bias)
        weight_of = self._log_weight_of_hidden if hidden else lambda v: -self.free_energy(v)
        step = max(1, _VALUES // max(self.weights.shape))
        return _log_sum(np.array([_log_sum(weight_of(states)) for states in _binary_states(count, step)]))

    def log_likelihood(self, v: Floats) -> NDArray[np.float64]:
        """Returns log p(v), of real units the log density: float64 [n]. Raises like `log_partition`."""
        return -self.free_energy(v) - self.log_partition()

    def pseudo_likelihood(self, v: Floats, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns the number of visible units times log p(v_i | the others), of one unit i of each example.

        Over all units, or for units drawn at random, its mean is the log pseudo-likelihood (Besag 1975). Of binary
        units that hold numbers between 0 and 1 it says, as scikit-learn's `BernoulliRBM.score_samples` does, how much
        likelier v_i is than 1 - v_i.

        Args:
            v: [n, visible].
            units: The number of a visible unit for each example, [n].
        """
        if self.visible == "gaussian":
            return len(self.visible_bias) * self._log_density_given_others(v, units)
        v = v.astype(np.float64, copy=False)
        rows = np.arange(len(v))
        before = v @ self.weights + self.hidden_bias
        change = 1 - 2 * v[rows, units]
        after = before + change[:, None] * self.weights[units]
        gain = self.visible_bias[units] * change + (_softplus(after) - _softplus(before)).sum(axis=1)
        return np.asarray(-v.shape[1] * _softplus(gain))

    @property
    def enumerated_units(self) -> int:
        """The number of the binary units whose states `log_partition` goes through."""
        hidden = len(self.hidden_bias)
        return hidden if self.visible == "gaussian" else min(hidden, len(self.visible_bias))

    def _log_weight_of_hidden(self, h: Floats) -> NDArray[np.float64]:
        """Returns log of the sum, or integral, over v of exp(-E(v, h)): float64 [n]."""
        inputs = h @ self.weights.T
        if self.visible == "gaussian":
            seen = 0.5 * (inputs**2).sum(axis=1) + inputs @ self.visible_bias
            seen += 0.5 * len(self.visible_bias) * math.log(2 * math.pi)
        else:
            seen = _softplus(inputs + self.visible_bias).sum(axis=1)
        return np.asarray(seen + h @ self.hidden_bias)

    def _log_density_given_others(self, v: Floats, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns log p(v_i | the others) of a real unit i of each example.

        It is a mixture of normal distributions of deviation 1, so that sums over a grid of step 1 are its integrals
        but for 2 exp(-2 pi^2), or 5e-9 of them (Trefethen and Weideman, SIAM Review 56(3), 2014).
        """
        positive = np.maximum(self.weights, 0).sum(axis=1)
        negative = np.minimum(self.weights, 0).sum(axis=1)
        middle = self.visible_bias + (positive + negative) / 2
        reach = math.ceil(float((positive - negative).max()) / 2 + _TAIL)
        grid = np.arange(-reach, reach + 1)
        v, found = v.astype(np.float64, copy=False), np.empty(len(v))
        step = max(1, _VALUES // (len(grid) * self.weights.shape[1]))
        for begin in range(0, len(v), step):
            some, unit = v[begin : begin + step], units[begin : begin + step]
            own = some[np.arange(len(some)), unit]
            inputs = some @ self.weights + self.hidden_bias
            values = np.concatenate([own[:, None], middle[unit][:, None] + grid], axis=1)
            moved = inputs[:, None] + (values - own[:, None])[..., None] * self.weights[unit][:, None]
            log_weights = _softplus(moved).sum(axis=2) - 0.5 * (values - self.visible_bias[unit][:, None]) ** 2
            found[begin : begin + step] = log_weights[:, 0] - _log_sum_of_rows(log_weights[:, 1:])
        return found


def new_rbm(mean: Floats, hidden: int, visible: VisibleKind, rng: np.random.Generator) -> RBM:
    """Returns a machine to begin training with (Hinton 2010, section 8), in float32.

    The weights are small; a binary visible unit is alone as often 1 as `mean` says.

    Args:
        mean: Of each visible unit over the training examples, [visible].
        hidden: The number of hidden units.
        visible: What the visible units are.
        rng: Decides.
    """
    weights = rng.normal(0, 0.01, (len(mean), hidden)).astype(np.float32)
    often = np.clip(mean, 0.01, 0.99)
    bias = mean if visible == "gaussian" else np.log(often / (1 - often))
    return RBM(weights, bias.astype(np.float32), np.zeros(hidden, np.float32), visible)


def _binary_states(count: int, step: int) -> Iterator[NDArray[np.float64]]:
    """Yields all states of `count` binary units, at most `step` at a time: float64 [n, count]."""
    for begin in range(0, 1 << count, step):
        numbers = np.arange(begin, min(begin + step, 1 << count))
        yield ((numbers[:, None] >> np.arange(count)) & 1).astype(np.float64)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5)


def _softplus(x: Floats) -> NDArray[np.float64]:
    x = x.astype(np.float64, copy=False)
    return np.asarray(np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x))))  # logaddexp is many times slower


def _log_sum(x: NDArray[np.float64]) -> float:
    return float(_log_sum_of_rows(x[None])[0])


def _log_sum_of_rows(x: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = x.max(axis=1)
    return np.asarray(largest + np.log(np.exp(x - largest[:, None]).sum(axis=1)))

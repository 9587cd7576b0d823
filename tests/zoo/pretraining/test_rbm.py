"""Machines against sums over all their states, integrals and scikit-learn; gradients against numeric derivatives."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from sklearn.neural_network import BernoulliRBM

from zoo.errors import IntegrityError, TrainingError, UsageError
from zoo.pretraining import rbm as rbm_module
from zoo.pretraining.contrastive_divergence import Divergence, RBMSettings
from zoo.pretraining.rbm import RBM, new_rbm
from zoo.pretraining.rbm_training import Seen, final_figures, train_rbm
from zoo.training import Checkpoint, Part, checkpoints, chunks

CHAINS = 100_000
CLOSE = 5 / np.sqrt(CHAINS)  # five standard errors of a mean of numbers whose deviation is 1 at most

Array = NDArray[np.float64]


def machine(visible: int = 4, hidden: int = 3, kind: Any = "bernoulli", scale: float = 1.0, seed: int = 0) -> RBM:
    rng = np.random.default_rng(seed)
    return RBM(rng.normal(size=(visible, hidden)) * scale, rng.normal(size=visible), rng.normal(size=hidden), kind)


def binary(count: int) -> Array:
    return np.array(list(itertools.product([0.0, 1.0], repeat=count)))


def energies(rbm: RBM, v: Array) -> Array:
    """Returns E(v, h) for each v and all h, [n, 2 ** hidden], as it is defined."""
    h = binary(len(rbm.hidden_bias))
    own = 0.5 * ((v - rbm.visible_bias) ** 2).sum(axis=1) if rbm.visible == "gaussian" else -v @ rbm.visible_bias
    return np.asarray(own[:, None] - h @ rbm.hidden_bias - np.einsum("ni,ij,mj->nm", v, rbm.weights, h, optimize=True))


def joint(rbm: RBM) -> Array:
    """Returns p(v, h) of all states of binary units, [2 ** visible, 2 ** hidden]."""
    weights = np.exp(-energies(rbm, binary(len(rbm.visible_bias))))
    return np.asarray(weights / weights.sum())


def mean_log_likelihood(rbm: RBM, v: Array) -> float:
    """Returns the mean log p(v), by adding up or (two real units) by integrating over a fine grid."""
    if rbm.visible == "bernoulli":
        z = np.exp(-energies(rbm, binary(len(rbm.visible_bias)))).sum()
    else:
        axis = np.arange(-12, 12, 0.25)
        z = np.exp(-energies(rbm, np.array(list(itertools.product(axis, repeat=2))))).sum() * 0.25**2
    return float(np.log(np.exp(-energies(rbm, v)).sum(axis=1)).mean() - np.log(z))


def numeric_gradients(rbm: RBM, v: Array, step: float = 1e-4) -> list[Array]:
    """Returns the derivatives of the mean log-likelihood by each weight and bias, as central differences."""
    found = []
    for name in ("weights", "visible_bias", "hidden_bias"):
        values = getattr(rbm, name)
        gradient = np.empty_like(values)
        for place in np.ndindex(values.shape):
            sides = []
            for sign in (1, -1):
                moved = values.copy()
                moved[place] += sign * step
                sides.append(mean_log_likelihood(replace(rbm, **{name: moved}), v))
            gradient[place] = (sides[0] - sides[1]) / (2 * step)
        found.append(gradient)
    return found


def expected_gradients(rbm: RBM, v: Array, steps: int) -> list[Array]:
    """Returns the expectation of CD-k: the chains' distribution after k steps, by the matrix of their transitions."""
    states, hidden, both = binary(len(rbm.visible_bias)), binary(len(rbm.hidden_bias)), joint(rbm)
    up, down = both / both.sum(axis=1, keepdims=True), (both / both.sum(axis=0)).T
    start = np.array([(states == one).all(axis=1) for one in v]).mean(axis=0)
    end = start @ np.linalg.matrix_power(up @ down, steps)
    means = up @ hidden
    gap = start - end
    return [(states * gap[:, None]).T @ means, gap @ states, gap @ means]


def estimated_gradients(rbm: RBM, v: Array, rounds: int = 1, chains: int = CHAINS, **settings: Any) -> list[Array]:
    """Returns what many chains say; of chains that go on, after some rounds."""
    many = np.repeat(v, chains // len(v), axis=0).astype(np.float32)
    chosen = RBMSettings((len(rbm.hidden_bias),), **{"batch_size": len(many), "sample_visible": True, **settings})
    divergence = Divergence(rbm, chosen)
    rng = np.random.default_rng(7)
    for _ in range(rounds):
        found = divergence.gradients(many, rng)
    return [np.asarray(each, np.float64) for each in found]


PATTERNS = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [0, 1, 1, 1]], np.float64)


def assert_close(found: list[Array], expected: list[Array], tolerance: float = CLOSE) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("visible", "hidden"), [(4, 3), (3, 5)])
def test_probabilities_are_those_of_all_states_added_up(visible: int, hidden: int) -> None:
    rbm, v, h = machine(visible, hidden), binary(visible), binary(hidden)
    both = joint(rbm)

    np.testing.assert_allclose(rbm.log_partition(), np.log(np.exp(-energies(rbm, v)).sum()))
    np.testing.assert_allclose(rbm.free_energy(v), -np.log(np.exp(-energies(rbm, v)).sum(axis=1)))
    np.testing.assert_allclose(np.exp(rbm.log_likelihood(v)), both.sum(axis=1))
    np.testing.assert_allclose(rbm.hidden_means(v), both @ h / both.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(rbm.visible_means(h), both.T @ v / both.sum(axis=0)[:, None])


def test_the_density_of_real_units_is_that_of_an_integral() -> None:
    rbm = machine(2, 3, "gaussian")
    v = np.random.default_rng(1).normal(size=(5, 2))

    np.testing.assert_allclose(rbm.log_likelihood(v).mean(), mean_log_likelihood(rbm, v), rtol=1e-9)
    h = binary(3)
    np.testing.assert_allclose(rbm.visible_means(h), rbm.visible_bias + h @ rbm.weights.T)


def test_states_are_gone_through_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rbm = machine(9, 7)
    whole = rbm.log_partition()
    monkeypatch.setattr(rbm_module, "_VALUES", 50)

    np.testing.assert_allclose(rbm.log_partition(), whole)


def test_large_machines_have_no_exact_partition_function() -> None:
    assert machine(30, 20).is_small
    assert machine(20, 30).is_small
    assert not machine(20, 30, "gaussian").is_small  # of real units there are no states to go through
    with pytest.raises(UsageError, match="at most 20 binary units.*21.*pseudo-likelihood"):
        machine(22, 21).log_partition()


def test_pseudo_likelihood_is_that_of_all_states() -> None:
    rbm, v = machine(), binary(4)
    p = joint(rbm).sum(axis=1)
    for unit in range(4):
        other = np.array([int(np.flatnonzero((v == flipped(one, unit)).all(axis=1))[0]) for one in v])
        expected = 4 * np.log(p / (p + p[other]))

        np.testing.assert_allclose(rbm.pseudo_likelihood(v, np.full(16, unit)), expected)


def flipped(v: Array, unit: int) -> Array:
    found = v.copy()
    found[unit] = 1 - found[unit]
    return found


def test_pseudo_likelihood_is_scikit_learns() -> None:
    rbm = machine(6, 5)
    v = np.random.default_rng(1).random((40, 6))  # probabilities, as gray pixels are
    theirs = BernoulliRBM(random_state=3)
    theirs.components_, theirs.intercept_hidden_ = rbm.weights.T, rbm.hidden_bias
    theirs.intercept_visible_, theirs.n_features_in_ = rbm.visible_bias, 6
    units = np.random.RandomState(3).randint(0, 6, 40)  # those that it draws

    np.testing.assert_allclose(rbm.pseudo_likelihood(v, units), theirs.score_samples(v))


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_pseudo_likelihood_of_real_units_is_an_integral(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rbm_module, "_VALUES", 300)  # several blocks
    rbm = machine(3, 4, "gaussian", scale)
    v = np.random.default_rng(1).normal(size=(3, 3)) * scale
    for unit in range(3):
        expected = [3 * log_density_given_others(rbm, one, unit) for one in v]

        np.testing.assert_allclose(rbm.pseudo_likelihood(v, np.full(3, unit)), expected, rtol=1e-6, atol=1e-6)


def log_density_given_others(rbm: RBM, v: Array, unit: int) -> float:
    """Returns log p(v_i | the others), by integrating over v_i."""
    lowest = float(energies(rbm, v[None]).min())

    def density(value: float) -> float:
        moved = v.copy()
        moved[unit] = value
        return float(np.exp(lowest - energies(rbm, moved[None])).sum())

    whole = quad(density, -80, 80, limit=2000, points=np.arange(-75, 80, 5), epsabs=0, epsrel=1e-10)[0]
    return float(np.log(density(v[unit]) / whole))


@pytest.mark.parametrize("steps", [1, 2])
def test_contrastive_divergence_has_the_expectation_of_its_chains(steps: int) -> None:
    rbm = machine(scale=2.0)
    expected = expected_gradients(rbm, PATTERNS, steps)

    assert_close(estimated_gradients(rbm, PATTERNS, steps=steps), expected)
    exact = numeric_gradients(rbm, PATTERNS)
    assert np.abs(exact[0] - expected[0]).max() > 3 * CLOSE  # after few steps it is another gradient


def test_long_chains_give_the_exact_gradient() -> None:
    rbm = machine()
    exact = numeric_gradients(rbm, PATTERNS)

    assert_close(expected_gradients(rbm, PATTERNS, 200), exact, 1e-6)  # so the two judges agree
    assert_close(estimated_gradients(rbm, PATTERNS, steps=25), exact)


def test_chains_that_go_on_give_the_exact_gradient() -> None:
    rbm = machine()
    exact = numeric_gradients(rbm, PATTERNS)

    assert_close(estimated_gradients(rbm, PATTERNS, rounds=25, persistent=True), exact)
    once = estimated_gradients(rbm, PATTERNS, persistent=True)
    assert np.abs(once[0] - exact[0]).max() > 3 * CLOSE  # they have just begun


@pytest.mark.parametrize("persistent", [False, True])
def test_chains_of_real_units_give_the_exact_gradient(persistent: bool) -> None:
    rbm = machine(2, 3, "gaussian")
    v = np.random.default_rng(1).normal(size=(5, 2))
    exact = numeric_gradients(rbm, v)
    found = estimated_gradients(rbm, v, steps=25, persistent=persistent)

    assert_close(found, exact, 3 * CLOSE)  # their deviation is larger


def test_visible_units_that_take_their_means_leave_no_chance_there() -> None:
    """Where hidden units are always on, what is drawn of them is no chance either."""
    rbm = replace(machine(), hidden_bias=np.full(3, 100.0))
    (weights, visible, _) = estimated_gradients(rbm, PATTERNS, chains=5, sample_visible=False)
    means = 1 / (1 + np.exp(-rbm.weights.sum(axis=1) - rbm.visible_bias))

    np.testing.assert_allclose(visible, PATTERNS.mean(axis=0) - means, atol=1e-5)
    np.testing.assert_allclose(weights, np.repeat(visible[:, None], 3, axis=1), atol=1e-5)


def test_momentum_and_weight_decay_are_those_of_the_formula() -> None:
    """All probabilities are 0 or 1, so that chains have no choice."""
    weights = np.array([[90.0, -80.0], [-70.0, 60.0], [50.0, 10.0]])
    rbm = RBM(weights, np.array([-30.0, 20.0, -25.0]), np.array([-33.0, 40.0]))
    settings = RBMSettings((2,), batch_size=2, learning_rate=0.1, momentum=0.9, weight_decay=0.01)
    divergence = Divergence(rbm, settings, 2.0, -1.0)
    x = np.array([[1, 0.5, 1], [0.5, 1, 0.5], [1, 1, 0.5]], np.float32)  # 1 and 0, once scaled and moved
    divergence.updates(x, np.array([2, 0, 1]), np.random.default_rng(0), 0.5)

    w, b, c = (np.array(each) for each in (weights, rbm.visible_bias, rbm.hidden_bias))
    speeds = [np.zeros_like(each) for each in (w, b, c)]
    for rows in ([2, 0], [1]):
        v = 2 * x[rows] - 1
        h = (v @ w + c > 0).astype(float)
        v2 = (h @ w.T + b > 0).astype(float)
        h2 = (v2 @ w + c > 0).astype(float)
        gradients = (v.T @ h - v2.T @ h2) / len(v) - 0.01 * w, (v - v2).mean(axis=0), (h - h2).mean(axis=0)
        for place, gradient in enumerate(gradients):
            speeds[place] = 0.5 * speeds[place] + 0.1 * gradient
        w, b, c = w + speeds[0], b + speeds[1], c + speeds[2]
    found = divergence.rbm()
    np.testing.assert_allclose(found.weights, w, rtol=1e-6)
    np.testing.assert_allclose(found.visible_bias, b, rtol=1e-6)
    np.testing.assert_allclose(found.hidden_bias, c, rtol=1e-6)
    assert np.abs(found.weights - weights).max() > 0.05


def test_momentum_is_smaller_in_the_first_five_epochs() -> None:
    rbm, x = beginning()
    five, slow, six = (
        trained(rbm, x, epochs=epochs, momentum=momentum)[0].weights
        for epochs, momentum in ((5, 0.9), (5, 0.5), (6, 0.9))
    )

    np.testing.assert_array_equal(five, slow)
    assert np.abs(six - trained(rbm, x, epochs=6, momentum=0.5)[0].weights).max() > 1e-3


def bars_and_stripes() -> Array:
    """Returns the 14 pictures 3x3 in which all rows, or all columns, are of one colour."""
    lines = binary(3)
    pictures = [np.repeat(line[:, None], 3, axis=1) for line in lines] + [
        np.repeat(line[None], 3, axis=0) for line in lines
    ]
    return np.unique(np.array(pictures).reshape(-1, 9), axis=0)


def seen(x: Array, validation: int = 0) -> Seen:
    part = Part(x.astype(np.float32), np.zeros(len(x), np.int64), np.arange(len(x) - validation))
    return Seen(part, replace(part, rows=np.arange(len(x) - validation, len(x))))


def trained(rbm: RBM, x: Array, watch: Any = None, path: Path | None = None, **settings: Any) -> Any:
    chosen = RBMSettings(
        (len(rbm.hidden_bias),), **{"batch_size": 10, "learning_rate": 0.1, "sample_visible": True, **settings}
    )
    checkpoint = Checkpoint(path, 0.0) if path else None
    return train_rbm(rbm, seen(x, 14), chosen, checkpoint=checkpoint, watch=watch)


def beginning(hidden: int = 10, seed: int = 0) -> tuple[RBM, Array]:
    x = np.tile(bars_and_stripes(), (15, 1))
    return new_rbm(x.mean(axis=0), hidden, "bernoulli", np.random.default_rng(seed)), x


@pytest.mark.parametrize(
    ("settings", "streamed"),
    [
        ({}, False),
        ({}, True),
        ({"steps": 3}, False),
        ({"persistent": True, "steps": 5, "momentum": 0.0, "learning_rate": 0.2}, False),
    ],
)
def test_the_exact_likelihood_rises(settings: Any, streamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if streamed:
        monkeypatch.setattr(chunks, "WHOLE_BYTES", 0)
        monkeypatch.setattr(chunks, "CHUNK_BYTES", 50 * 9 * 4)
    rbm, x = beginning()
    watched: list[float] = []
    after, history = trained(
        rbm, x, lambda number, now: watched.append(mean_log_likelihood(now, x[:14])), epochs=72, **settings
    )

    assert mean_log_likelihood(rbm, x[:14]) == pytest.approx(9 * np.log(0.5), abs=0.05)  # it knows nothing
    thirds = [np.mean(each) for each in np.split(np.array(watched), 3)]
    assert thirds == sorted(thirds)
    assert watched[-1] > -4.5  # of at most log(1 / 14) = -2.6
    assert mean_log_likelihood(after, x[:14]) == watched[-1]
    assert history.epochs[-1].score > history.epochs[0].score
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert (len(history.epochs), history.best_epoch, history.score_name) == (72, 72, "pseudo_likelihood")


def test_figures_are_those_of_the_machine() -> None:
    rbm, x = beginning()
    figures = final_figures(rbm, seen(x, 14), 0)
    v = x[-14:]

    assert figures["log_likelihood"] == pytest.approx(mean_log_likelihood(rbm, v), rel=1e-6)
    h = 1 / (1 + np.exp(-v @ rbm.weights - rbm.hidden_bias))
    back = 1 / (1 + np.exp(-h @ rbm.weights.T - rbm.visible_bias))
    assert figures["reconstruction_error"] == pytest.approx(((back - v) ** 2).mean(), rel=1e-5)
    assert abs(figures["free_energy_gap"]) < 1e-6  # both parts have the same pictures
    assert "log_likelihood" not in final_figures(machine(22, 21), seen(np.zeros((5, 22))), 0)


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("settings", [{}, {"persistent": True}])
def test_it_goes_on_as_if_nothing_had_happened(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_SHARE", float("inf"))  # every epoch, however long writing takes
    rbm, x = beginning()
    expected, history = trained(rbm, x, epochs=9, **settings)

    def stop(number: int, now: RBM) -> None:
        if number == 7:
            raise StoppedError

    path = tmp_path / "checkpoint"
    with pytest.raises(StoppedError):
        trained(rbm, x, stop, path, epochs=9, **settings)
    went_on: list[int] = []
    found, again = trained(rbm, x, lambda number, now: went_on.append(number), path, epochs=9, **settings)

    assert went_on == [7, 8, 9]
    assert [row[:-1] for row in again.table()[1]] == [row[:-1] for row in history.table()[1]]
    for one, other in zip(vars(found).values(), vars(expected).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    went_on.clear()
    trained(rbm, x, lambda number, now: went_on.append(number), path, epochs=9, **settings)
    assert went_on == []  # it had ended
    with pytest.raises(IntegrityError, match="another machine"):
        trained(beginning(hidden=5)[0], x, None, path, epochs=9, **settings)


def test_the_seed_decides() -> None:
    rbm, x = beginning()
    one, same, other = (trained(rbm, x, epochs=2, seed=seed)[0] for seed in (1, 1, 2))

    np.testing.assert_array_equal(one.weights, same.weights)
    assert np.abs(one.weights - other.weights).max() > 0


def test_every_epoch_of_every_machine_draws_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []
    updates = Divergence.updates

    def watched(self: Divergence, x: Any, order: Any, rng: np.random.Generator, momentum: float) -> None:
        begun.append(float(rng.random()))
        updates(self, x, order, rng, momentum)

    monkeypatch.setattr(Divergence, "updates", watched)
    rbm, x = beginning()
    for layer in (1, 2):
        train_rbm(rbm, seen(x), RBMSettings((10,), epochs=3), layer=layer)

    assert len(set(begun)) == 6


def test_weights_that_are_not_finite_say_so() -> None:
    x = np.random.default_rng(0).normal(size=(60, 5)) * 1e6
    rbm = new_rbm(np.zeros(5), 4, "gaussian", np.random.default_rng(0))

    with pytest.raises(TrainingError, match=r"after epoch \d+ of machine 1.*Try --lr 100"):
        trained(rbm, x, epochs=50, learning_rate=1000.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": ()}, "--units 300,100"),
        ({"units": (3, 0)}, r"\[3, 0\]"),
        ({"visible": "binary"}, "bernoulli or gaussian; got 'binary'"),
        ({"steps": 0}, "steps of at least 1"),
        ({"batch_size": 0}, "batch_size of at least 1"),
        ({"learning_rate": 0.0}, "learning rate above 0; got 0.0"),
        ({"momentum": 1.0}, "momentum of 0 to below 1"),
        ({"weight_decay": -1.0}, "weight decay of 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RBMSettings(**{"units": (3,), **settings})

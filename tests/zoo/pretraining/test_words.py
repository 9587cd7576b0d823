"""Replaced words: what is put where, against NumPy; nets that learn what goes together; and what is reused of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

import zoo
from zoo.data import Split
from zoo.data.text import TextExamples
from zoo.errors import DataError, UsageError
from zoo.loading.whole import load_archive
from zoo.pretraining.autoencoders import pretrain_autoencoder
from zoo.pretraining.auxiliary import AuxiliarySettings, pretrain_auxiliary
from zoo.pretraining.belief_network import pretrain_rbm
from zoo.pretraining.contrastive_divergence import RBMSettings
from zoo.pretraining.losses import VersionsObjective
from zoo.pretraining.pairs import PairSettings, pretrain_pairs
from zoo.pretraining.stack import AutoencoderSettings
from zoo.pretraining.versions import Replaced
from zoo.pretraining.word_network import WordNetwork
from zoo.pretraining.words import LONGEST, Words, words_of
from zoo.surgery import split_units
from zoo.training import FitSettings

NONE = np.arange(0)
SEAS, HILLS = ([f"{place}{number}" for number in range(12)] for place in ("sea", "hill"))


def texts(*found: str) -> TextExamples:
    return TextExamples("texts", "texts.txt", found, [""] * len(found), "classification", range(1, len(found) + 1))


def whole(examples: Any) -> Split:
    return Split(np.arange(len(examples)), NONE, NONE)


def settings(epochs: int = 1, lr: float = 0.01, **options: Any) -> AuxiliarySettings:
    options = {"units": (8,), **options}
    return AuxiliarySettings(fit=FitSettings(epochs=epochs, learning_rate=lr), **options)


def said(model: Any, *found: str) -> NDArray[np.float32]:
    return np.asarray(model(keras.ops.convert_to_tensor(list(found), "string")))


# Numbers of words


def test_the_vocabulary_is_of_the_training_texts_and_in_order() -> None:
    examples = texts("b a, A!", "C c b", "c  d", "zebra a")
    words = words_of(examples, Split(np.arange(3), np.array([3]), NONE), 10)

    assert words.vectorization.get_vocabulary() == ["", "[UNK]", "c", "a", "b", "d"]  # of a and b, both twice, by name
    assert words.counts == (0, 0, 3, 2, 2, 1)
    np.testing.assert_array_equal(words.x, [[4, 3, 3], [2, 2, 4], [2, 5, 0], [0, 3, 0]])
    assert (words.train.tolist(), words.validation.tolist()) == ([0, 1, 2], [3])
    fewer = words_of(examples, whole(examples), 2)
    assert fewer.vectorization.get_vocabulary() == ["", "[UNK]", "a", "c"]
    assert fewer.counts == (0, 4, 3, 3)
    np.testing.assert_array_equal(fewer.x[1], [3, 3, 1])


def test_test_texts_and_labels_are_not_looked_at() -> None:
    class Guarded(TextExamples):
        def read(self, rows: Any) -> NDArray[np.object_]:
            assert np.max(rows) < 2
            return super().read(rows)

    examples = Guarded("texts", "t.csv", ["a b", "b a", "no"], ["x", "y", "z"], "classification", [2, 3, 4])
    assert words_of(examples, Split(np.array([0]), np.array([1]), np.array([2])), 9).counts == (0, 0, 1, 1)


def test_long_texts_end_and_texts_without_words_are_left_out() -> None:
    words = words_of(texts("a b " * LONGEST, "", "?!", "a"), whole(range(4)), 9)

    assert words.x.shape == (4, LONGEST)
    assert words.train.tolist() == [0, 3]
    assert words.counts == (0, 0, LONGEST + 1, LONGEST)


@pytest.mark.parametrize("found", [("", " ."), ("a", "a a")])
def test_fewer_than_two_words_are_refused(found: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="two different words or more; the 2 of training"):
        words_of(texts(*found), whole(found), 9)


# Versions


def padded(*lengths: int, words: int = 6) -> NDArray[np.int32]:
    """Returns texts of the numbers 2, 3, ... of these lengths."""
    row = np.arange(max(lengths), dtype=np.int32)
    return np.stack([np.where(row < length, 2 + (row + length) % words, 0) for length in lengths]).astype(np.int32)


def replaced(counts: tuple[int, ...], share: float, x: NDArray[np.int32], seed: int = 0) -> NDArray[np.int32]:
    good, bad = np.moveaxis(np.asarray(Replaced(counts, share, seed)(x)), 1, 0)
    np.testing.assert_array_equal(good, x)
    assert bad.dtype == np.int32
    return np.asarray(bad)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 1.0])
def test_a_share_of_the_words_is_replaced_one_at_least_and_padding_never(share: float) -> None:
    lengths = [*range(41), *range(41)]
    x = padded(*lengths)

    bad = replaced((0, 0, *[5] * 6), share, x)

    changed = bad != x
    assert changed.sum(axis=1).tolist() == [0 if n == 0 else max(1, round(share * n)) for n in lengths]
    assert not changed[x == 0].any()
    assert set(np.unique(bad[x > 0])) <= set(range(2, 8))


def test_all_places_are_as_likely() -> None:
    changed = replaced((0, 0, *[5] * 6), 0.25, padded(*[8] * 4000)) != padded(*[8] * 4000)
    np.testing.assert_allclose(changed.mean(axis=0), 0.25, atol=0.03)


def test_words_are_replaced_by_others_as_often_as_these_occur() -> None:
    counts = (0, 10, 50, 0, 25, 15)
    for word in (1, 2, 3, 4, 5):
        x = np.full((400, 50), word, np.int32)
        drawn = np.bincount(replaced(counts, 1.0, x, seed=word).ravel(), minlength=6) / x.size
        others = np.where(np.arange(6) == word, 0, counts)
        np.testing.assert_allclose(drawn, others / others.sum(), atol=0.02)
        assert (drawn[others == 0] == 0).all()


def test_what_is_random_is_new_at_every_step_of_training_and_else_of_its_seed() -> None:
    x = padded(*range(30, 40))
    layer = Replaced((0, 0, *[5] * 6), 0.5, seed=4)

    assert not np.array_equal(layer(x, training=True), layer(x, training=True))
    np.testing.assert_array_equal(layer(x), layer(x))
    np.testing.assert_array_equal(layer(x), Replaced((0, 0, *[5] * 6), 0.5, seed=4)(x))
    assert not np.array_equal(layer(x), Replaced((0, 0, *[5] * 6), 0.5, seed=5)(x))


# Whole trainings


def of_one_place(count: int, seed: int = 0) -> list[str]:
    """Returns texts whose words are all of the sea, or all of the hills."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice([SEAS, HILLS][rng.integers(2)], rng.integers(4, 9))) for _ in range(count)]


def in_order(count: int) -> list[str]:
    """Returns texts that are stretches of one circle of words: only neighbours tell what fits."""
    rng = np.random.default_rng(1)
    begins, lengths = rng.integers(8, size=count), rng.integers(8, 17, size=count)
    circle = [f"w{number}" for number in range(8)]
    return [" ".join(itertools.islice(itertools.cycle(circle), b, b + n)) for b, n in zip(begins, lengths, strict=True)]


@pytest.fixture(scope="module")
def net() -> Any:
    """A net of texts with a convolution, which has learned nothing."""
    words = words_of(texts(*in_order(20)), whole(range(20)), 99)
    found = WordNetwork(words, (8, 6), (12,), "relu", outputs=1, name="task").model
    found.get_layer("layer2").bias.assign([0.5] * 12)  # which padding would have, too
    return found


@pytest.mark.slow
def test_a_convolution_learns_order_and_its_scores_are_a_margin_apart() -> None:
    examples = texts("", "w3", "w3", *in_order(700), "", "w5")  # some have one word, or none
    how = settings(8, conv=(12,), units=(8, 6), loss="margin", share=0.1)

    ordered = pretrain_auxiliary(examples, Split(np.arange(500), np.arange(500, 705), NONE), None, how)

    assert ordered.figures["accuracy"] > 0.9
    assert (ordered.figures["chance"], ordered.figures["vocabulary"]) == (0.5, 8)
    good = "w0 w1 w2 w3 w4 w5 w6 w7 w0 w1"
    bad = [good.replace("w4", other) for other in ("w0", "w2", "w7")]
    scores = said(ordered.model, good, *bad)
    assert scores.shape == (4, 1)
    assert (scores[0] > scores[1:]).all()
    wanted = np.mean([max(0.0, 1.0 - scores[0, 0] + each) for each in scores[1:, 0]])
    found = VersionsObjective(1.0).losses(None, scores[None])
    np.testing.assert_allclose(found, [wanted], rtol=1e-5)
    assert not ordered.pictures


@pytest.mark.slow
def test_a_mean_of_words_learns_what_goes_together_and_no_order() -> None:
    split = Split(np.arange(600), np.arange(600, 800), NONE)

    learned = pretrain_auxiliary(texts(*of_one_place(800)), split, None, settings(10, units=(8, 12)))

    assert learned.figures["accuracy"] > 0.8
    one, other, *nothing = said(learned.model, "sea1 hill2 sea3", "sea3 sea1 hill2", "", "?")
    np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_allclose([one.sum(), *(each.sum() for each in nothing)], 1, rtol=1e-5)
    assert [unit.name for unit in split_units(learned.model)] == ["layer1", "layer2", "task"]


@pytest.mark.slow
def test_where_all_goes_together_with_all_there_is_nothing_to_learn() -> None:
    rng = np.random.default_rng(2)
    anyhow = texts(*(" ".join(rng.choice(SEAS, 6)) for _ in range(800)))
    learned = pretrain_auxiliary(anyhow, Split(np.arange(600), np.arange(600, 800), NONE), None, settings(3))
    assert learned.figures["accuracy"] == pytest.approx(0.5, abs=0.08)


def test_its_layers_are_units_that_pass_the_guards(net: Any, tmp_path: Path) -> None:
    units = split_units(net)

    assert [(unit.name, unit.output_shape) for unit in units] == [
        ("layer1", (LONGEST, 8)), ("layer2", (12,)), ("layer3", (6,)), ("task", (1,))
    ]  # fmt: skip
    assert all(unit.legal for unit in units[:-1])
    net.save(tmp_path / "model.keras")
    found = ("w0 w1 w2", "W1, w0?", "w9", "")
    np.testing.assert_array_equal(said(load_archive(tmp_path / "model.keras"), *found), said(net, *found))
    assert np.isfinite(said(net, *found)).all()


def test_the_mean_of_places_is_that_of_words_at_every_unit(net: Any) -> None:
    lowest = keras.Model(net.input, net.get_layer("layer1_words").output)
    embedding = np.asarray(net.get_layer("layer1").embeddings)
    vocabulary = net.get_layer("words").get_vocabulary()

    found = said(lowest, "w3 w4 w4", "", "w5").mean(axis=1)

    w3, w4, w5 = (embedding[vocabulary.index(word)] for word in ("w3", "w4", "w5"))
    np.testing.assert_allclose(found, [(w3 + 2 * w4) / 3, 0 * w3, w5], atol=1e-6)
    kernel, bias = (np.asarray(each) for each in net.get_layer("layer2").weights)
    above = keras.Model(net.input, net.get_layer("layer2_mean").output)
    places = [sum(row @ kernel[at] for at, row in window) for window in (((1, w3), (2, w4)), ((0, w3), (1, w4)))]
    wanted = np.maximum(np.array(places) + bias, 0).mean(axis=0)
    np.testing.assert_allclose(said(above, "w3 w4")[0], wanted, atol=1e-5)


def test_the_same_seed_gives_the_same_net_and_several_convolutions_are_one_unit() -> None:
    words = words_of(texts(*of_one_place(40)), whole(range(40)), 99)

    nets = [WordNetwork(words, (8,), (4, 3), "relu", outputs=2, name="task", seed=seed).model for seed in (3, 3, 4)]

    kernels = [np.concatenate([each.ravel() for each in net.get_weights()]) for net in nets]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert nets[0].get_config() == nets[1].get_config()
    assert [(unit.name, unit.output_shape) for unit in split_units(nets[0])] == [
        ("layer1", (LONGEST, 8)), ("layer3_words", (3,)), ("task", (2,))
    ]  # fmt: skip


def test_in_training_a_text_puts_out_what_it_does_in_the_model_however_long_others_are() -> None:
    words = words_of(texts("a b c d e", "b", "d e", ""), whole(range(4)), 99)
    net = WordNetwork(words, (8, 5), (4, 3), "relu", outputs=1, name="task")
    net.model.get_layer("layer2").bias.assign([1.0] * 4)  # which padding would have, too
    source = keras.Input((2, 5), dtype="int32")
    trained = keras.Model(source, net.of_each(source))

    found = np.asarray(trained(np.stack([np.asarray(words.x), np.asarray(words.x)[::-1]], axis=1)))

    wanted = said(net.model, "a b c d e", "b", "d e", "")
    np.testing.assert_allclose(found, np.stack([wanted, wanted[::-1]], axis=1), atol=1e-6)


@pytest.mark.parametrize("conv", [(), (3,)])
def test_unknown_words_are_none_where_nothing_is_learned_of_them(conv: tuple[int, ...]) -> None:
    def net(most: int) -> Any:
        words = words_of(texts("a b c d", "b a d"), whole(range(2)), most)
        return WordNetwork(words, (8,), conv, "relu", outputs=1, name="task").model

    all_known, some_unknown = net(9), net(3)

    np.testing.assert_allclose(*said(all_known, "a b", "a b new ones"), atol=1e-6)
    np.testing.assert_allclose(*said(all_known, "", "new"), atol=1e-6)
    one, other = said(some_unknown, "a b", "a b new ones")
    assert not np.allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_the_same_seed_learns_the_same_and_another_something_else() -> None:
    examples = texts(*of_one_place(60))
    nets = []
    for seed in (3, 3, 4):
        how = AuxiliarySettings(units=(8,), fit=FitSettings(epochs=2, seed=seed))
        nets.append(pretrain_auxiliary(examples, whole(examples), None, how).model.get_weights()[0])
    np.testing.assert_array_equal(nets[0], nets[1])
    assert not np.array_equal(nets[0], nets[2])


# What is refused


@pytest.mark.parametrize(
    ("method", "how"),
    [
        (pretrain_autoencoder, AutoencoderSettings(units=(4,))),
        (pretrain_rbm, RBMSettings(units=(4,))),
        (pretrain_pairs, PairSettings(units=(4,))),
    ],
)
def test_other_methods_take_no_texts(method: Any, how: Any) -> None:
    with pytest.raises(UsageError, match="takes numbers; data 'texts' has texts. For texts: auxiliary"):
        method(texts("a b", "c d"), whole(range(2)), None, how)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "exchanged"}, "cannot be exchanged"),
        ({"units": (), "conv": (4,)}, "the width of a word"),
    ],
)
def test_settings_that_do_not_suit_texts_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pretrain_auxiliary(texts("a b", "c d"), whole(range(2)), None, settings(**options))


def test_words_are_of_texts_alone() -> None:
    with pytest.raises(UsageError, match="Replaced words want texts"):
        settings(task="replaced").versions((8, 8, 1))
    with pytest.raises(UsageError, match="at least 1 word"):
        settings(vocabulary=0)
    with pytest.raises(DataError, match="has none"):
        words_of(texts("a b"), Split(NONE, NONE, NONE), 9)


def test_words_are_inputs() -> None:
    words: Words = words_of(texts("a b c", "c d"), whole(range(2)), 9)
    assert (words.shape, words.spec, words.judged.tolist()) == ((3,), None, [0, 1])


# From a file to a transfer


@pytest.fixture
def reviews(tmp_path: Path) -> str:
    """A table of few texts with labels; beside it an entry `places`, made of a file of many without."""
    (tmp_path / "texts.txt").write_text("\n".join([*of_one_place(400), "", "sea1"]))
    rows = [f"{text},{text[:3]}\n" for text in of_one_place(60, seed=5)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "".join(rows))
    made = zoo.pretrain("auxiliary", tmp_path / "texts.txt", units=8, conv=8, epochs=6, lr=0.01, name="places")
    assert made.record["input"]["decoded"] == "text"
    return str(tmp_path / "reviews.csv")


@pytest.mark.slow
def test_from_a_file_of_lines_to_a_transfer_on_few_labels(reviews: str) -> None:
    for reuse in (1, "all"):
        run = zoo.transfer("places", reviews, reuse=reuse, train_per_class=5, epochs=60, lr=0.05)
        assert run.record["metrics"]["test"]["accuracy"] > 0.85
        assert run.record["features"]["misses"] > 0
    found = zoo.open_run(run.path).predict(["sea3 sea4 sea5 sea6", "hill7 hill9 hill2"])
    assert [each.label for each in found] == ["sea", "hil"]


@pytest.mark.slow
def test_features_are_kept_and_all_units_train(reviews: str) -> None:
    misses = [
        zoo.transfer("places", reviews, train_per_class=5, epochs=2).record["features"]["misses"] for _ in range(2)
    ]
    partly = zoo.transfer("places", reviews, freeze=1, train_per_class=5, epochs=20, lr=0.02)
    tuned = zoo.transfer("places", reviews, freeze=0, train_per_class=5, epochs=20, lr=0.02, compare_scratch=True)

    assert misses[0] > misses[1] == 0
    assert partly.record["metrics"]["test"]["accuracy"] > 0.85
    assert tuned.record["metrics"]["test"]["accuracy"] > 0.85

"""Does pretraining help where labels are few? Test accuracy on handwritten digits, for every method of `zoo pretrain`.

    python benchmarks/few_labels.py [--seeds 10] [--first-seed 100] [--per-class 5 10 20] [--json F] [--plot F.svg]
    python benchmarks/few_labels.py --from F [G ...] [--plot F.svg]

The training part of the digits is learned from without its labels; then 5, 10 or 20 pictures of each class have one.
*Frozen*: what was pretrained stays, and a new classifier is trained on top. *Tuned*: all of it is trained. A seed
decides the split, the new weights and the order of the examples; all rows of a seed see the same labelled training,
validation and test examples. Validation (about 250 pictures, the same for all rows) says when to stop, and all rows
may train for as long as they want: `FitSettings.from_scratch`, as the rival of `--compare-scratch` does.
*Pairs* need labels, and get those that all others have: they are pretrained anew for each number of them, on the
labelled training examples alone, and may train as long as what is transferred. Settings are defaults, but for those
in `WAYS` and `EPOCHS`: usual values, or epochs that cost less; none was chosen by what the seeds of 100 and above say.
Figures are means over seeds with 95 % intervals of the mean (Student's t), and the mean difference to scratch, paired
by seed, with its interval.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from scipy import stats

import zoo
from zoo.data import Examples, Split, split_of
from zoo.data.examples import ArrayExamples
from zoo.features import FeatureCache
from zoo.laps import Laps
from zoo.phases import train, train_scratch
from zoo.preparing import prepare
from zoo.pretraining.methods import method_named, settings_of
from zoo.pretraining.steps import picture_spec
from zoo.progress import Silent
from zoo.runs.trained import reader
from zoo.training import Part, predict

Widths = Mapping[str, tuple[int, ...]]

NETS: Mapping[str, Widths] = {"dense": {"units": (300, 100)}, "convolutional": {"conv": (32, 64)}}
SCRATCH = "scratch"
EPOCHS = {"dense": 100, "convolutional": 40}  # of pretraining at most, of each layer; 100 is the default
BASELINES, SIGMOID, LETTERS = "baselines", "scratch, sigmoid units", "letters-cnn"


@dataclass(frozen=True, eq=False)
class Way:
    """A method with its settings; those that are not named are the defaults."""

    name: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    nets: tuple[str, ...] = tuple(NETS)
    rows: bool = False  # whether examples are rows of numbers for it, and no pictures


WAYS = (
    Way("autoencoder", "autoencoder"),
    Way("autoencoder, denoising", "autoencoder", {"mask": 0.3}),
    Way("autoencoder, sparse", "autoencoder", {"sparsity": 0.1}, nets=("dense",)),
    Way("rbm", "rbm", {"epochs": 40}, nets=("dense",)),
    Way("auxiliary: rotated", "auxiliary", {"task": "rotated"}),
    Way("auxiliary: rotated, margin", "auxiliary", {"task": "rotated", "loss": "margin"}),
    Way("auxiliary: shuffled", "auxiliary", {"task": "shuffled"}),
    Way("auxiliary: shuffled, margin", "auxiliary", {"task": "shuffled", "loss": "margin"}),
    Way("auxiliary: exchanged", "auxiliary", {"task": "exchanged"}, nets=("dense",), rows=True),
    Way("auxiliary: exchanged, margin", "auxiliary", {"task": "exchanged", "loss": "margin"}, ("dense",), rows=True),
    Way("pairs: contrastive", "pairs", {"loss": "contrastive"}),
    Way("pairs: triplet", "pairs", {"loss": "triplet"}),
)
ROWS = [BASELINES, SIGMOID, *(way.name for way in WAYS), LETTERS]


@dataclass(frozen=True)
class Figure:
    """One trained classifier: what it is, its accuracies, and the seconds that it took, without pretraining."""

    net: str
    name: str
    tuned: bool
    count: int
    seed: int
    test: float
    validation: float
    loss: float  # of validation
    steps: int
    seconds: float


def main() -> None:
    """Computes or reads figures, prints tables of them, and draws them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--per-class", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help=f"of: {'; '.join(ROWS)}")
    parser.add_argument("--json", type=Path, help="write the figures of each classifier there, seed by seed")
    parser.add_argument("--from", dest="sources", type=Path, nargs="+", help="compute nothing, read such files")
    parser.add_argument("--plot", type=Path, help="draw there: .svg or .png")
    options = parser.parse_args()
    if options.sources:
        figures = [Figure(**each) for path in options.sources for each in json.loads(path.read_text())]
    else:
        figures = []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            figures += _computed(seed, options.nets, options.per_class, options.rows)
            if options.json:
                options.json.write_text(json.dumps([asdict(each) for each in figures], indent=0))
    figures.sort(key=lambda figure: ROWS.index(figure.name) if figure.name in ROWS else 0)
    _print_tables(figures)
    if options.plot:
        _draw(figures, options.plot)


def _computed(seed: int, nets: Sequence[str], counts: Sequence[int], rows: Sequence[str]) -> list[Figure]:
    """Returns all figures of a seed, computed with a home and a registry of its own."""
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as home:
        before, os.environ["ZOO_HOME"] = os.environ.get("ZOO_HOME"), home
        trial = Trial(seed, Path(home))
        figures = [trial.figures(net, counts, rows) for net in nets]
        if LETTERS in rows:
            figures.append(trial.reused(counts))
        for figure in itertools.chain(*figures):
            found.append(figure)
            print(
                f"seed {seed}, {figure.net}, {figure.count} a class, {_full_name(figure)}: test {figure.test:.3f}, "
                f"validation {figure.validation:.3f}, {figure.steps} steps, {figure.seconds:.1f} s", flush=True,
            )  # fmt: skip
        os.environ.pop("ZOO_HOME") if before is None else os.environ.update(ZOO_HOME=before)
    keras.utils.clear_session()
    gc.collect()
    return found


class Trial:
    """All that is done with one seed."""

    def __init__(self, seed: int, home: Path) -> None:
        self._seed, self._home, self._digits = seed, home, zoo.open_data("digits")

    def figures(self, net: str, counts: Sequence[int], rows: Sequence[str]) -> Iterator[Figure]:
        """Yields the figures of some rows of a net, for every number of labels."""
        ways = [way for way in WAYS if net in way.nets and way.name in rows]
        models = {way: self._pretrained(way, net) for way in ways if way.method != "pairs"}
        for count in counts:
            if BASELINES in rows:
                yield from self._baselines(net, count)
            if SIGMOID in rows and net == "dense":  # which is what the units of an RBM are
                yield self._figure(net, SIGMOID, count, self._untrained(net, "sigmoid"), scratch=True)
            models |= {way: self._pretrained(way, net, count) for way in ways if way.method == "pairs"}
            for way in ways:
                yield self._figure(net, way.name, count, models[way], rows=way.rows)
                yield self._figure(net, way.name, count, models[way], rows=way.rows, freeze=0)

    def _baselines(self, net: str, count: int) -> Iterator[Figure]:
        """Yields the figures of what has not been pretrained."""
        blank = self._untrained(net)
        yield self._figure(net, SCRATCH, count, blank, scratch=True)
        yield self._figure(net, "random layers", count, blank)
        if net == "dense":
            yield self._figure(net, "no layers: pixels", count, blank, reuse=0, pool="flatten")

    def reused(self, counts: Sequence[int]) -> Iterator[Figure]:
        """Yields the figures of a model that others have pretrained: on letters, with labels."""
        for count in counts:
            yield self._figure(LETTERS, "all frozen", count, LETTERS)
            yield self._figure(LETTERS, "reuse 5, freeze 4", count, LETTERS, reuse=5, freeze=4)

    def _pretrained(self, way: Way, net: str, count: int | None = None) -> keras.Model:
        """Returns what is made of the digits, or of those that are labelled if there are `count` of each class."""
        began, split = time.perf_counter(), split_of(self._digits, self._seed, count)
        data = _with_parts(self._digits, split, rows=way.rows)
        method = method_named(way.method)
        options = {"epochs": EPOCHS[net], "seed": self._seed, **NETS[net], **way.options}
        settings = settings_of(method, options)
        if count is not None:
            settings = replace(settings, fit=settings.fit.from_scratch(len(split.train)))
        spec = None if way.rows else picture_spec(data.shape)
        made = method.run(data, split_of(data), spec, settings, cache=FeatureCache(self._home))
        told = ", ".join(f"{key} {value:.3g}" for key, value in made.figures.items())
        print(
            f"seed {self._seed}, {net}, {way.name}: {len(made.history.epochs)} epochs, "
            f"{time.perf_counter() - began:.1f} s; {told}", flush=True,
        )  # fmt: skip
        return made.model

    def _untrained(self, net: str, activation: str = "relu") -> keras.Model:
        """Returns the net with random weights, of the shape that `zoo pretrain` gives it."""
        keras.utils.set_random_seed(self._seed)
        layers: list[keras.layers.Layer] = []  # with names of their own, on which the weights of scratch depend
        for number, filters in enumerate(NETS[net].get("conv", ()), 1):
            layers.append(keras.layers.Conv2D(filters, 3, padding="same", activation=activation, name=f"conv{number}"))
            layers.append(keras.layers.MaxPooling2D(2, padding="same", name=f"pool{number}"))
        if widths := NETS[net].get("units", ()):
            layers.append(keras.layers.Flatten(name="flatten"))
            layers += [keras.layers.Dense(width, activation, name=f"layer{width}") for width in widths]
        layers.append(keras.layers.Dense(10, name="outputs"))
        return keras.Sequential([keras.Input(self._digits.shape), *layers], name="untrained")

    def _figure(
        self,
        net: str,
        name: str,
        count: int,
        model: str | keras.Model,
        *,
        rows: bool = False,
        scratch: bool = False,
        **cut: Any,
    ) -> Figure:
        """Returns how well a transfer does that may train for as long as it wants, or its rival from scratch."""
        began = time.perf_counter()
        spec = None if rows or isinstance(model, str) else picture_spec(self._digits.shape)
        data = _with_parts(self._digits, split_of(self._digits, self._seed, count), rows=rows)
        job = prepare(model, data, seed=self._seed, preprocessing=spec, **cut)
        if job.warnings:
            raise SystemExit(f"{name}: {' '.join(job.warnings)}")
        fitting = job.settings.fit.from_scratch(len(job.split.train))
        if scratch:
            rival = train_scratch(job, None, Silent())
            surgery, history, part = rival.surgery, rival.history, job.part("test", reader(job))
        else:
            job = replace(job, settings=replace(job.settings, fit=fitting))
            job, trained = train(job, FeatureCache(self._home), None, Silent(), Laps())
            surgery, history, part = trained.surgery, trained.history, job.part("test", trained.x)
        best = history.best
        return Figure(
            net, name, cut.get("freeze") == 0, count, self._seed, _accuracy(surgery.logits, part),
            float(best.val_score or 0), float(best.val_loss or 0), history.steps, time.perf_counter() - began,
        )  # fmt: skip


def _with_parts(examples: Examples, split: Split, *, rows: bool = False) -> ArrayExamples:
    """Returns the examples of a split as an array, part by part, which knows the part that each is in.

    Args:
        examples: Pictures.
        split: Which.
        rows: Whether they become rows of numbers 0..1.
    """
    parts = [split.train, split.validation, split.test]
    chosen = np.concatenate(parts)
    x = np.asarray(examples.read(chosen))
    return ArrayExamples(
        (x.reshape(len(x), -1) / 255).astype(np.float32) if rows else x, examples.labels[chosen], name=examples.name,
        classes=examples.classes, parts=np.repeat(np.arange(3, dtype=np.int8), [len(part) for part in parts]),
    )  # fmt: skip


def _accuracy(model: keras.Model, part: Part) -> float:
    return float((predict(model, part).argmax(axis=1) == part.y[part.rows]).mean())


def _full_name(figure: Figure) -> str:
    return f"{figure.name}{', tuned' if figure.tuned else ''}"


KINDS = ((False, "#1b6ca8", -0.15, "frozen, a classifier trained"), (True, "#d1620f", 0.15, "all of it trained"))
Key = tuple[str, str, int]  # net, name, labels a class


def _by_seed(figures: Sequence[Figure]) -> dict[Key, dict[int, float]]:
    """Returns the test accuracy of each seed."""
    found: dict[Key, dict[int, float]] = {}
    for figure in figures:
        found.setdefault((figure.net, _full_name(figure), figure.count), {})[figure.seed] = figure.test
    return found


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns a mean, and how far its 95 % interval reaches to each side."""
    count = len(values)
    if count < 2:
        return float(np.mean(values)), float("nan")
    return float(np.mean(values)), float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / count**0.5)


def _difference(scores: Mapping[Key, Mapping[int, float]], key: Key) -> tuple[float, float]:
    """Returns by how much a row is above scratch of the same net, as `_interval` does."""
    own, scratch = scores[key], scores[key[0], SCRATCH, key[2]]
    return _interval([own[seed] - scratch[seed] for seed in own])


def _print_tables(figures: Sequence[Figure]) -> None:
    """Prints a Markdown table for each net: accuracy, and difference to scratch in points."""
    scores = _by_seed(figures)
    counts = sorted({count for *_, count in scores})
    for net in dict.fromkeys(net for net, *_ in scores):
        print(f"\n| {net}; labelled pictures per class |", " | ".join(map(str, counts)), "|", end="")
        has_scratch = (net, SCRATCH, counts[0]) in scores
        print("".join(f" {count}, to scratch |" for count in counts if has_scratch))
        print("|---|" + "---|" * len(counts) * (1 + has_scratch))
        for name in dict.fromkeys(name for own, name, _ in scores if own == net):
            keys = [(net, name, count) for count in counts]
            cells = ["{:.3f} ± {:.3f}".format(*_interval(list(scores[key].values()))) for key in keys]
            if has_scratch and name != SCRATCH:
                cells += ["{:+.1f} ± {:.1f}".format(*(100 * x for x in _difference(scores, key))) for key in keys]
            elif has_scratch:
                cells += [""] * len(counts)
            print(f"| {name} |", " | ".join(cells), "|")


def _draw(figures: Sequence[Figure], path: Path) -> None:
    """Draws means with their intervals: a panel for each net and number of labels, scratch as a band."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "few-labels", "font.size": 9})
    from matplotlib import pyplot as plt

    scores = _by_seed(figures)
    counts = sorted({figure.count for figure in figures})
    nets = [net for net in NETS if (net, SCRATCH, counts[0]) in scores]
    rows = dict.fromkeys((each.net, each.name) for each in figures if each.name != SCRATCH)
    names = {net: [name for own, name in rows if own == net] for net in nets}
    figure, panels = plt.subplots(
        len(nets), len(counts), figsize=(9.5, 0.27 * sum(map(len, names.values())) + 1.8), sharey="row", squeeze=False,
        height_ratios=[len(names[net]) for net in nets], layout="constrained", facecolor="white",
    )  # fmt: skip
    for net, line in zip(nets, panels, strict=True):
        for count, panel in zip(counts, line, strict=True):
            mean, reach = _interval(list(scores[net, SCRATCH, count].values()))
            lines = dict.fromkeys(
                (each.name, _full_name(each), each.tuned or each.name == SIGMOID)
                for each in figures
                if (each.net, each.count) == (net, count) and each.name != SCRATCH
            )
            panel.axvspan(mean - reach, mean + reach, color="#d9d9d9", label="from scratch")
            for is_tuned, color, shift, label in KINDS:
                points = [
                    (names[net].index(own) + shift, *_interval(list(scores[net, full, count].values())))
                    for own, full, tuned in lines
                    if tuned == is_tuned
                ]
                y, x, spread = zip(*points, strict=True)
                panel.errorbar(x, y, xerr=spread, fmt="o", color=color, markersize=4, linewidth=1.2, label=label)
            panel.set_yticks(range(len(names[net])), names[net])
            panel.set_ylim(len(names[net]) - 0.5, -0.5)
            panel.set_title(f"{net}, {count} labels a class", fontsize=9)
            panel.grid(axis="x", color="#eeeeee")
            panel.set_axisbelow(True)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    figure.supxlabel("test accuracy: mean of seeds, 95 % interval", fontsize=9)
    figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    main()

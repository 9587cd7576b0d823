"""The page of a run: complete, self-contained, safe against hostile names, and repeatable."""

from __future__ import annotations

import base64
import copy
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.runs import charts
from zoo.runs.report import Mistake, Report, render_report

HOSTILE = [
    "<script>alert(1)</script>",
    "\u202eevil\u202c",
    "a\0b\x1b[31m",
    "bad\udcff",
    "'\"><img src=//e.example/x>",
    "קטן",
]
VOID = {"meta", "img", "br", "path", "polyline"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text += data


def text_of(page: Report) -> str:
    return " ".join(Page(render_report(page)).text.split())


def history(epochs: int = 33, validation: bool = True) -> Any:
    """Returns a history as `zoo.training` makes it, whose last epoch but some is the best."""
    noise = np.random.default_rng(epochs).uniform(0.5, 1, (4, epochs))
    rows = [
        SimpleNamespace(
            epoch=number + 1,
            loss=float(20 / (number + 1) * noise[0, number]),
            accuracy=float(noise[1, number]),
            val_loss=float(20 / (number + 1) * noise[2, number]) if validation else None,
            val_accuracy=float(noise[3, number]) if validation else None,
            seconds=0.05,
        )
        for number in range(epochs)
    ]
    best = max(1, epochs - 10) if validation else epochs
    return SimpleNamespace(
        epochs=tuple(rows), best_epoch=best, steps=4 * epochs, seconds=1.5, stopped="all epochs were run"
    )


def figures_of(classes: int) -> dict[str, Any]:
    """Returns test figures: of each class 23 right, and one taken for the next class."""
    confusion = 23 * np.eye(classes, dtype=int) + np.roll(np.eye(classes, dtype=int), 1, axis=1)
    return {"accuracy": 23 / 24, "loss": 0.12, "count": 24 * classes, "confusion": confusion.tolist()}


def training(figures: Any) -> dict[str, Any]:
    return {
        "epochs": len(figures.epochs), "best_epoch": figures.best_epoch, "steps": figures.steps,
        "seconds": figures.seconds, "stopped": figures.stopped,
    }  # fmt: skip


def report(names: list[str] | None = None, *, reused: Any = None, scratch: Any = None, **changes: Any) -> Report:
    """Returns the report of a run on small gray pictures; `changes` replace top-level parts of its record."""
    classes = names or [str(number) for number in range(10)]
    reused = reused or history()
    last = reused.epochs[reused.best_epoch - 1]
    states = ("frozen", "frozen", "trained", "dropped")
    record = {
        "schema": 1,
        "created": "2026-01-02T03:04:05+00:00",
        "model": "letters-cnn",
        "data": "digits",
        "reuse": 3,
        "freeze": 2,
        "source": {"kind": "embedded", "files": {"letters-cnn.keras": "sha256:" + "a" * 64}},
        "settings": {
            "reuse": 3,
            "hidden": [64],
            "pool": "avg",
            "train_per_class": 10,
            "seed": 0,
            "fit": {"epochs": 100},
        },
        "input": {
            "shape": [8, 8, 1],
            "decoded": "gray",
            "preprocessing": {"size": [28, 28, 1], "color": "gray"},
        },
        "units": [
            {
                "index": i,
                "name": f"conv{i}",
                "params": 1000 * i,
                "output_shape": [None, None, 32],
                "state": state,
            }
            for i, state in enumerate(states, 1)
        ],
        "classes": classes,
        "parameters": {"frozen": 3000, "trained": 3000, "new": 970},
        "examples": {
            "train": 100,
            "validation": 0 if last.val_loss is None else 244,
            "test": 24 * len(classes),
        },
        "split": {"seed": 0, "train_per_class": 10},
        "features": {"hits": 591, "misses": 0, "seconds": 0.007, "bytes": 5560128, "key": None},
        "training": training(reused),
        "metrics": {
            "running_train": {"accuracy": last.accuracy, "loss": last.loss},
            "validation": {"accuracy": last.val_accuracy, "loss": last.val_loss},
            "test": figures_of(len(classes)),
        },
        "parity": {"examples": 64, "largest_difference": 2e-7},
        "scratch": {
            "metrics": {"test": figures_of(len(classes))},
            "training": training(scratch),
            "right_in_one_only": {"reused": 3, "scratch": 3},
        }
        if scratch
        else None,
        "versions": {"python": "3.11.7"},
        "files": {"model.keras": "sha256:" + "b" * 64},
    } | changes
    pictures = np.random.default_rng(0).integers(0, 256, (len(classes), 8, 8, 1), np.uint8)
    mistakes = [
        Mistake(picture, name, classes[(index + 1) % len(classes)], 0.9)
        for index, (picture, name) in enumerate(zip(pictures, classes, strict=True))
    ][:24]
    return Report(record, reused, scratch, mistakes)


def all_right(names: list[str] | None = None) -> Report:
    page = report(names)
    count = len(page.record["classes"])
    metrics = page.record["metrics"] | {"test": figures_of(count) | {"confusion": np.diag([24] * count).tolist()}}
    return replace(page, record={**page.record, "metrics": metrics}, mistakes=[])


def everything_trained() -> Report:
    page = report(freeze=0, source={"kind": "memory", "files": {}})
    units = [{**unit, "state": "trained"} for unit in page.record["units"][:3]]
    features = {"hits": 0, "misses": 0, "seconds": 0.0, "bytes": 0, "key": None}
    return replace(page, record={**page.record, "units": units, "features": features})


def rows() -> Report:
    page = report(["setosa", "virginica"], input={"shape": [4], "decoded": None, "preprocessing": None})
    return replace(page, mistakes=[replace(each, picture=None) for each in page.mistakes])


def photos(*shape: int) -> Report:
    page = report(["rose", "tulip"])
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return replace(page, mistakes=[replace(each, picture=picture) for each in page.mistakes])


VARIANTS = {
    "digits": report(),
    "scratch": report(scratch=history(454)),
    "scratch of one epoch": report(reused=history(1), scratch=history(1)),
    "everything trained": everything_trained(),
    "nothing reused": report(reuse=0, freeze=0, units=[]),
    "26 classes": report([chr(65 + number) for number in range(26)]),
    "50 classes": report([f"species {number}" for number in range(50)]),
    "200 classes": report([f"class number {number}" for number in range(200)]),
    "200 classes, all right": all_right([f"class number {number}" for number in range(200)]),
    "one epoch": report(reused=history(1)),
    "no validation": report(reused=history(validation=False)),
    "no mistakes": all_right(),
    "long names": report(["x" * 120, "Great spotted woodpecker of the northern boreal forest", "short"]),
    "photos": photos(224, 224, 3),
    "wide photos": photos(10, 2000, 3),
    "two channels": photos(8, 8, 2),
    "rows": rows(),
    "hostile names": report(HOSTILE, model=HOSTILE[0], data=HOSTILE[1], scratch=history(40)),
}


@pytest.mark.parametrize("page", VARIANTS.values(), ids=VARIANTS)
def test_is_whole_self_contained_and_repeatable(page: Report) -> None:
    html = render_report(page)
    parsed = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "iframe", "object", "base", "form", "a"} & set(parsed.tags)
    assert all(value.startswith("data:image/") for _, name, value in parsed.attributes if name == "src")
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on") or name in ("href", "srcset")]
    assert "http://" not in html and "https://" not in html and "@import" not in html and "url(" not in html
    assert "default-src 'none'" in html
    assert "nan" not in re.findall(r"[\w.]+", re.sub(r"data:[^\"]*", "", html).lower())
    assert render_report(copy.deepcopy(page)) == html
    assert len(html.encode("utf-8")) < 400_000


def test_says_what_was_done_in_plain_words() -> None:
    text = text_of(report())
    assert "letters-cnn, reused for digits: 95.8 % of 240 test pictures right" in text
    assert "3 of 4 units reused, 2 of them frozen, 1 trained further; on top of them a new head for 10 classes." in text
    assert "zoo predict RUN photo.jpg" in text
    assert "591 found on disk, 0 computed" in text
    assert "differ by at most 2e-07" in text


def test_counts_no_total_where_the_record_has_only_reused_units() -> None:
    page = report()
    text = text_of(replace(page, record={**page.record, "units": page.record["units"][:3]}))
    assert "3 units reused, 2 of them frozen" in text and "Left out" not in text


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("scratch", "Both get equally many test pictures right"),
        ("everything trained", "none of them frozen, all trained further"),
        ("everything trained", "no features were kept"),
        ("nothing reused", "No unit was reused"),
        ("200 classes", "Most frequent confusions"),
        ("no validation", "there were no validation examples"),
        ("no mistakes", "There are none: the model got all 240 test pictures right"),
        ("rows", 'zoo.open_run("RUN").predict(rows)'),
        ("two channels", "Probability"),
    ],
)
def test_says_what_is_special(variant: str, said: str) -> None:
    assert said in text_of(VARIANTS[variant])


@pytest.mark.parametrize(
    ("right", "said"),
    [
        (23, "The reused net gets 2 more test pictures right"),
        (27, "From random weights it gets 2 more test pictures right"),
        (0, "more than chance would make"),
    ],
)
def test_compares_fairly(right: int, said: str) -> None:
    page = report(["a", "b"], scratch=history(400))
    for part, hits in ((page.record["metrics"], 25), (page.record["scratch"]["metrics"], right)):
        part["test"] |= {"confusion": [[hits, 30 - hits], [0, 30]]}
    alone = {"reused": max(25 - right, 0) + 1, "scratch": max(right - 25, 0) + 1}
    page.record["scratch"]["right_in_one_only"] = alone  # 3 against 1 can be chance, 26 against 1 cannot
    text = text_of(page)
    assert said in text
    assert ("can be chance" in text) == (right != 0)


def test_hostile_names_are_text() -> None:
    html = render_report(VARIANTS["hostile names"])
    parsed = Page(html)
    assert "script" not in parsed.tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert(1)</script>" in parsed.text
    assert r"\u202eevil\u202c" in parsed.text
    assert not set(html) & set("\u202e\u202c\0\x1b\udcff")
    assert "קטן" in parsed.text
    html.encode("utf-8")


def shown(page: Report) -> list[Image.Image]:
    """Returns the pictures on the page."""
    uris = [value for tag, name, value in Page(render_report(page)).attributes if (tag, name) == ("img", "src")]
    return [Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1], validate=True))) for uri in uris]


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 20, 1), (1, 1, 3), (128, 128, 3)])
def test_small_pictures_decode_to_the_same_pixels(shape: tuple[int, ...]) -> None:
    page = photos(*shape)
    pictures = shown(page)
    assert len(pictures) == len(page.mistakes)
    for picture, mistake in zip(pictures, page.mistakes, strict=True):
        assert mistake.picture is not None
        assert np.array_equal(np.asarray(picture).reshape(shape), mistake.picture)


def test_large_pictures_are_reduced() -> None:
    assert [picture.size for picture in shown(photos(448, 896, 3))] == [(224, 112)] * 2


def test_the_page_needs_no_tensorflow() -> None:
    code = "import sys, zoo.runs.report; sys.exit('tensorflow' in sys.modules or 'jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_thinned_curves_keep_their_spikes() -> None:
    long = history(20_000)
    long.epochs[777].val_loss = 1e4
    (loss, _) = charts.panels(long, None)
    line = next(line for line in loss.lines if line.part == "validation")
    assert len(line.points) <= 502
    assert max(y for _, y in line.points) > 98
    assert [x for x, _ in line.points] == sorted(x for x, _ in line.points)
    assert len(render_report(report(reused=long)).encode()) < 400_000


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (charts.Axis(1, 2), [1.0, 1.5, 2.0]),
        (charts.Axis(0, 1), [0.0, 0.5, 1.0]),
        (charts.Axis(0.3, 20, log=True), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]),
        (charts.Axis(1e-6, 20, log=True), [1e-6, 1e-4, 1e-2, 1.0]),
    ],
)
def test_ticks_are_round(axis: charts.Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)
    assert all(0 <= axis.at(tick) <= 100 for tick in axis.ticks())


def test_figures_that_are_not_finite_are_left_out() -> None:
    broken = history(5)
    broken.epochs[4].val_loss = float("nan")
    broken.epochs[3].loss = float("inf")
    (loss, _) = charts.panels(broken, None)
    assert sorted(len(line.points) for line in loss.lines) == [4, 4]

"""Reports of runs that never were, of every kind that a page or a card can have to show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from zoo.runs.report import Mistake, Report
from zoo.training.history import Epoch, History

HOSTILE = [
    "<script>alert(1)</script>",
    "\u202eevil\u202c",
    "a\0b\x1b[31m",
    "bad\udcff",
    "'\"><img src=//e.example/x>",
    "קטן",
]


def history(epochs: int = 33, validation: bool = True, *, phases: int = 1, name: str = "accuracy") -> History:
    """Returns a history whose last epoch but some is the best."""
    noise = np.random.default_rng(epochs).uniform(0.5, 1, (4, epochs))
    rows = tuple(
        Epoch(
            number + 1,
            loss=float(20 / (number + 1) * noise[0, number]),
            score=float(noise[1, number]),
            val_loss=float(20 / (number + 1) * noise[2, number]) if validation else None,
            val_score=float(noise[3, number]) if validation else None,
            seconds=0.05,
            phase=1 + number * phases // epochs,
        )
        for number in range(epochs)
    )
    best = max(1, epochs - 10) if validation else epochs
    return History(rows, best, 4 * epochs, 1.5, "all epochs were run", name)


def figures_of(classes: int) -> dict[str, Any]:
    """Returns test figures: of each class 23 right, and one taken for the next class."""
    confusion = 23 * np.eye(classes, dtype=int) + np.roll(np.eye(classes, dtype=int), 1, axis=1)
    return {"accuracy": 23 / 24, "loss": 0.12, "count": 24 * classes, "confusion": confusion.tolist()}


def with_epoch(all_epochs: History, number: int, **changes: Any) -> History:
    """Returns a history with an epoch changed."""
    rows = list(all_epochs.epochs)
    rows[number] = replace(rows[number], **changes)
    return replace(all_epochs, epochs=tuple(rows))


def training(figures: History) -> dict[str, Any]:
    return {
        "epochs": len(figures.epochs), "best_epoch": figures.best_epoch, "steps": figures.steps,
        "seconds": figures.seconds, "stopped": figures.stopped,
    }  # fmt: skip


def report(
    names: list[str] | None = None, *, reused: History | None = None, scratch: History | None = None, **changes: Any
) -> Report:
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
            "running_train": {reused.score_name: last.score, "loss": last.loss},
            "validation": {reused.score_name: last.val_score, "loss": last.val_loss},
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


BINS = [
    {"low": number / 15, "high": (number + 1) / 15, "count": count, "confidence": number / 15 + 0.03, "accuracy": share}
    for number, (count, share) in enumerate(
        [(0, None)] * 9 + [(3, 0.33), (0, None), (20, 0.6), (30, 0.7), (0, None), (90, 0.95)]
    )
]


def with_figures(page: Report, baselines: dict[str, float], **test: Any) -> Report:
    """Returns the page with further figures of the test, and what guessing gives."""
    metrics = page.record["metrics"]
    return replace(
        page,
        record={**page.record, "metrics": metrics | {"test": metrics["test"] | test, "baselines": baselines}},
    )


def judged() -> Report:
    calibration = {"error": 0.04, "bins": BINS, "temperature": 1.4, "scaled_error": 0.02, "scaled_loss": 0.1}
    return with_figures(
        report(), {"majority": 0.1, "nearest_neighbor": 0.955},
        accuracy_interval=[0.93, 0.98], macro_f1=0.951, macro_f1_interval=[0.92, 0.97], brier=0.07,
        calibration=calibration, warnings=["No example is of the class '11'."],
    )  # fmt: skip


def labelled() -> Report:
    labels = [
        {"name": name, "count": 9 * at, "precision": 0.5, "recall": 0.7 if at else None, "f1": at / 4 or None}
        | {"average_precision": None}
        for at, name in enumerate(["sky", "sea", "<b>dog</b>"])
    ]
    page = report(["sky", "sea", "<b>dog</b>"], task="multilabel", reused=history(name="example_f1"))
    test = {"example_f1": 0.83, "example_f1_interval": [0.79, 0.86], "loss": 0.2, "count": 240, "confusion": None}
    page = replace(page, record={**page.record, "metrics": page.record["metrics"] | {"test": test}})
    picture = np.zeros((8, 8, 1), np.uint8)
    doubts = [Mistake(picture, "no label", "sea | sky", 0.51, "<b>dog</b>", 0.49)]
    return replace(with_figures(page, {"guess": 0.8}, per_class=labels), uncertain=doubts)


def valued() -> Report:
    page = report(["width", "age"], task="regression", reused=history(name="mae"))
    test = {
        "mae": 3.21,
        "mae_interval": [3.0, 3.4],
        "rmse": 4.0,
        "r2": 0.9,
        "loss": 16.0,
        "count": 300,
        "confusion": None,
    }
    page = replace(page, record={**page.record, "metrics": page.record["metrics"] | {"test": test | {"per_class": []}}})
    true = np.random.default_rng(0).normal(1000, 50, (5000, 2)).astype(np.float32)
    wrong = [Mistake(None, "1000|2", "900|3", None)]
    return replace(with_figures(page, {"guess": 40.2}), mistakes=wrong, targets=true, outputs=true + 5)


def searched() -> Report:
    common = {"loss": 0.3, "epochs": 9, "seconds": 0.4}
    probes = [
        {"kind": "probe", "reuse": at, "freeze": at, "hidden": [], "score": at / 5, "chosen": False} for at in (1, 2, 3)
    ]
    tried = [
        {"kind": "trained", "reuse": 3, "freeze": 2, "hidden": [64], "score": 0.9, "chosen": at == 0}
        for at in range(15)
    ]
    found = {"reuse": 3, "freeze": 2, "hidden": [64], "seconds": 12.0, "stopped": "the time was over"}
    phases = [
        {"phase": at, "freeze": 3 - at, "learning_rate": 0.001, "unit_decay": None if at == 1 else 2.6, "epochs": 11,
         "best_epoch": at - 1, "steps": 44, "seconds": 0.5, "stopped": "all epochs were run"}
        for at in (1, 2, 3)
    ]  # fmt: skip
    return report(
        reused=history(33, phases=3), phases=phases, timings={"features": 1.5, "training": 2.5, "save": 0.0001},
        search=found | {"trials": [each | common for each in probes + tried]}, bad_files=2,
        warnings=[f"Odd thing {number}." for number in range(9)],
    )  # fmt: skip


VARIANTS = {
    "judged": judged(),
    "labels": labelled(),
    "values": valued(),
    "searched": searched(),
    "phases, scratch": report(reused=history(33, phases=3), scratch=history(99)),
    "nothing kept": report(reused=replace(history(5), best_epoch=0)),
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

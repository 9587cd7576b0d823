"""What training did: plain data, without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch: means over the examples, and wall time (s).

    Attributes:
        epoch: Its number, from 1.
        phase: Of the training: 1 trains what was asked for first; each later one has more units unfrozen.
        loss: Of the training examples, while the weights changed.
        score: Likewise; what it is, `History.score_name` says.
        val_loss: Of the validation examples, with the weights of its end; None without such.
        val_score: Likewise.
        seconds: Wall time.
    """

    epoch: int
    loss: float
    score: float
    val_loss: float | None
    val_score: float | None
    seconds: float
    phase: int = 1


@dataclass(frozen=True)
class History:
    """What training did.

    Attributes:
        epochs: Every epoch.
        best_epoch: Which one was kept; 0: what training began with was better than all of them.
        steps: How many were taken.
        seconds: Wall time.
        stopped: Why it ended.
        score_name: `accuracy`, `example_f1` or `mae`: what the scores are.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    steps: int
    seconds: float
    stopped: str
    score_name: str = "accuracy"

    @property
    def best(self) -> Epoch:
        """The epoch that was kept; the first where what training began with was."""
        return self.epochs[max(0, self.best_epoch - 1)]

    def table(self) -> tuple[list[str], list[tuple[float | int | None, ...]]]:
        """Returns the epochs as a table: names of the columns, and rows."""
        score = self.score_name
        rows: list[tuple[float | int | None, ...]] = [
            (each.epoch, each.phase, each.loss, each.score, each.val_loss, each.val_score, each.seconds)
            for each in self.epochs
        ]
        return ["epoch", "phase", "loss", score, "val_loss", f"val_{score}", "seconds"], rows


def joined(histories: Sequence[History]) -> History:
    """Returns the histories of several phases as one, its epochs numbered on."""
    epochs: list[Epoch] = []
    best = 0
    for phase, history in enumerate(histories, 1):
        best = len(epochs) + history.best_epoch if history.best_epoch else best
        before = len(epochs)
        epochs += [dataclasses.replace(each, epoch=before + each.epoch, phase=phase) for each in history.epochs]
    steps, seconds = sum(each.steps for each in histories), sum(each.seconds for each in histories)
    return History(tuple(epochs), best, steps, seconds, histories[-1].stopped, histories[-1].score_name)

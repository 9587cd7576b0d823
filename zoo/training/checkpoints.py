"""Checkpoints: what a training that was killed is continued from, as if nothing had happened.

All that the next epoch depends on is in one file: the weights and the state of random layers, what the optimizer
remembers, the best weights so far, and the epochs that were run. The order of the examples follows from seed and epoch.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes  # comes with keras: NumPy's names of bfloat16 and its like
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from zoo.errors import IntegrityError
from zoo.files import write_bytes
from zoo.training.history import Epoch

Arrays = list[NDArray[Any]]

SECONDS = 5.0
_SHARE = 0.1  # of the time, that writing may take
_GROUPS = ("variables", "optimizer", "best")


@dataclass(frozen=True)
class FitState:
    """A training between two epochs.

    Attributes:
        variables: Of the model, in its order, with the state of its random layers.
        optimizer: Of the optimizers.
        best: The best weights so far.
        best_epoch: Of which epoch they are.
        best_loss: Their validation loss; infinite without validation examples.
        epochs: Those that were run.
        stopped: Why training ended; None: it goes on.
    """

    variables: Arrays
    optimizer: Arrays
    best: Arrays
    best_epoch: int
    best_loss: float
    epochs: tuple[Epoch, ...]
    stopped: str | None = None


@dataclass
class Checkpoint:
    """The file of one training, written at most every few seconds, and more rarely where that takes long.

    Attributes:
        path: Where it is.
        seconds: How long (s) it is left as it is, at least.
    """

    path: Path
    seconds: float = field(default_factory=lambda: SECONDS)
    _next: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._next = time.monotonic() + self.seconds

    def is_due(self) -> bool:
        """Returns whether it is time to write."""
        return time.monotonic() >= self._next

    def save(self, state: FitState) -> None:
        """Writes a state; a kill at any time leaves this one or the one before.

        Raises:
            DiskError: It cannot be written.
        """
        began = time.monotonic()
        tensors, dtypes = {}, {}
        for group in _GROUPS:
            for number, array in enumerate(getattr(state, group)):
                name = f"{group}.{number:05}"
                dtypes[name] = array.dtype.name
                tensors[name] = np.array(_plain(array), order="C", copy=None)
        told = {
            "best_epoch": state.best_epoch,
            "best_loss": state.best_loss if np.isfinite(state.best_loss) else None,
            "epochs": [dataclasses.asdict(each) for each in state.epochs],
            "stopped": state.stopped,
            "dtypes": dtypes,
        }
        write_bytes(self.path, save(tensors, {"state": json.dumps(told)}))
        now = time.monotonic()
        self._next = now + max(self.seconds, (now - began) / _SHARE)

    def load(self) -> FitState | None:
        """Returns the state that was written last; None where there is none.

        Raises:
            IntegrityError: The file is damaged.
        """
        if not self.path.exists():
            return None
        data = self.path.read_bytes()
        try:
            length = int.from_bytes(data[:8], "little")
            told = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["state"])
            tensors = load(data)
            groups: dict[str, Arrays] = {group: [] for group in _GROUPS}
            for name in sorted(tensors):
                groups[name.split(".")[0]].append(tensors[name].view(_dtype(told["dtypes"][name])))
            epochs = tuple(Epoch(**each) for each in told["epochs"])
            loss = float("inf") if told["best_loss"] is None else float(told["best_loss"])
            return FitState(
                groups["variables"], groups["optimizer"], groups["best"],
                int(told["best_epoch"]), loss, epochs, told["stopped"],
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            raise IntegrityError(
                f"{self.path} is damaged ({' '.join(str(error).split())[:200]}). Remove it: training begins anew then."
            ) from error


def assign(variables: Sequence[Any], arrays: Arrays, path: Path) -> None:
    """Gives variables the values of a checkpoint.

    Raises:
        IntegrityError: They are of another model.
    """
    expected = [tuple(each.shape) for each in variables]
    found = [array.shape for array in arrays]
    if expected != found:
        raise IntegrityError(
            f"{path} is of another model: expected {len(expected)} arrays of the shapes {expected[:3]}..., found "
            f"{len(found)} of {found[:3]}... Remove it: training begins anew then."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def values(variables: Sequence[Any]) -> Arrays:
    """Returns what variables hold, as arrays of their own."""
    return [np.array(each) for each in variables]


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Returns an array as bytes where safetensors does not know its dtype."""
    known = array.dtype.kind in "fiub" and hasattr(np, array.dtype.name)
    return array if known or array.dtype == bool else array.view(f"u{array.dtype.itemsize}")


def _dtype(name: str) -> Any:
    return np.dtype(getattr(ml_dtypes, name, None) or name)

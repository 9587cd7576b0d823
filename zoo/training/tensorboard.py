"""Logs a training for TensorBoard: figures of each epoch, of the test, and what was asked for.

TensorBoard itself is not needed to write; `tensorboard --logdir FOLDER` shows it. Names and folders are those of Keras'
own callback: `train` and `validation`, `epoch_loss`, steps from 0.
Format: https://github.com/tensorflow/tensorboard/tree/master/tensorboard/plugins, scalar and text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import tensorflow as tf

from zoo.files import disk_errors
from zoo.training.history import Epoch

_SUMMARY = tf.compat.v1.SummaryMetadata
_ELSEWHERE = "another folder (--tensorboard)"


class TensorBoardLog:
    """A log of one training, for TensorBoard. What a process wrote before it was killed stays and can be read.

    Args:
        folder: Where to; several runs side by side in one folder are compared.
        score_name: What `Epoch.score` is.
        settings: What was asked for, told as text; nested mappings are told by their paths.
        anew: Whether it takes the place of a log that is there: of a training that is gone on with, whose epochs are
            all told again.

    Raises:
        DiskError: The folder cannot be written to.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        score_name: str = "accuracy",
        settings: Mapping[str, Any] | None = None,
        anew: bool = False,
    ) -> None:
        self._folder, self._score = Path(folder), score_name
        if anew:
            for file in self._folder.glob("*/events.out.tfevents.*"):
                with disk_errors(self._folder, elsewhere=_ELSEWHERE):
                    file.unlink(missing_ok=True)
        self._writers: dict[str, Any] = {}
        if settings:
            self._text("train", "settings", _table(settings))
            self._flush()

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def epoch(self, epoch: Epoch, phase: int | None = None, *, learning_rate: float | None = None) -> None:
        """Logs an epoch, at once.

        Args:
            epoch: Its figures; it is counted over all phases.
            phase: Of the training; None: as the epoch says.
            learning_rate: At its end.
        """
        step, score = epoch.epoch - 1, f"epoch_{self._score}"
        about = {"epoch_learning_rate": learning_rate, "epoch_seconds": epoch.seconds}
        about["phase"] = float(epoch.phase if phase is None else phase)
        self._scalars("train", step, {"epoch_loss": epoch.loss, score: epoch.score, **about})
        self._scalars("validation", step, {"epoch_loss": epoch.val_loss, score: epoch.val_score})
        self._flush()

    def evaluation(self, figures: Mapping[str, Any], step: int = 0) -> None:
        """Logs what came out for the test examples.

        Args:
            figures: As `Evaluation.to_json()` has them; those that are single numbers are logged.
            step: The number of epochs that were trained.
        """
        single = {key: value for key, value in figures.items() if isinstance(value, int | float)}
        self._scalars("test", step, {f"evaluation_{key}": value for key, value in single.items()})
        self._flush()

    def close(self) -> None:
        """Ends the log."""
        for writer in self._writers.values():
            with disk_errors(self._folder, elsewhere=_ELSEWHERE):
                writer.close()
        self._writers.clear()

    def _scalars(self, part: str, step: int, figures: Mapping[str, float | None]) -> None:
        metadata = _SUMMARY(plugin_data=_SUMMARY.PluginData(plugin_name="scalars"), data_class="DATA_CLASS_SCALAR")
        known = {name: value for name, value in figures.items() if value is not None and math.isfinite(value)}
        if known:
            with self._writer(part).as_default():
                for name, value in known.items():
                    tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=metadata)

    def _text(self, part: str, name: str, text: str) -> None:
        metadata = _SUMMARY(plugin_data=_SUMMARY.PluginData(plugin_name="text"), data_class="DATA_CLASS_TENSOR")
        with self._writer(part).as_default():
            tf.summary.write(name, tf.constant(text), step=0, metadata=metadata)

    def _writer(self, part: str) -> Any:
        if part not in self._writers:
            with disk_errors(self._folder, elsewhere=_ELSEWHERE):
                (self._folder / part).mkdir(parents=True, exist_ok=True)
            self._writers[part] = tf.summary.create_file_writer(str(self._folder / part))
        return self._writers[part]

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()


def _table(settings: Mapping[str, Any]) -> str:
    """Returns settings as a table of Markdown, which TensorBoard shows.

    >>> print(_table({"lr": 0.1, "fit": {"epochs": 3}}))
    | setting | value |
    |---|---|
    | lr | 0.1 |
    | fit.epochs | 3 |
    """
    rows = (f"| {name} | {str(value).replace('|', '/')} |" for name, value in _flat(settings))
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value

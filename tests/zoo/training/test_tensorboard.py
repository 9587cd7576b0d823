"""Logs for TensorBoard, read back from their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from zoo.errors import DiskError
from zoo.training import Epoch
from zoo.training.tensorboard import TensorBoardLog


def logged(folder: Path) -> list[tuple[str, int, Any, str]]:
    """Returns name, step, value and plugin of all that is in a folder's files."""
    found = []
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = event_pb2.Event.FromString(record.numpy())
            for each in event.summary.value:
                value = tf.make_ndarray(each.tensor).item()
                found.append((each.tag, event.step, value, each.metadata.plugin_data.plugin_name))
    return found


def test_epochs_the_test_and_the_settings() -> None:
    log = TensorBoardLog("logs", score_name="f1", settings={"lr": 0.1, "fit": {"optimizer": "adam|w"}})
    log.epoch(Epoch(1, 0.5, 0.25, 0.75, None, 2.0), 1, learning_rate=0.125)
    log.epoch(Epoch(2, 0.25, 0.5, None, None, 2.0, phase=2))

    train = logged(Path("logs/train"))  # before it is closed: a run that is killed has its epochs
    (text,) = [each for each in train if each[3] == "text"]
    assert text[0] == "settings"
    assert "| fit.optimizer | adam/w |" in text[2].decode()
    assert [each[:3] for each in train if each[3] == "scalars"] == [
        ("epoch_loss", 0, 0.5), ("epoch_f1", 0, 0.25), ("epoch_learning_rate", 0, 0.125), ("epoch_seconds", 0, 2.0),
        ("phase", 0, 1.0),
        ("epoch_loss", 1, 0.25), ("epoch_f1", 1, 0.5), ("epoch_seconds", 1, 2.0), ("phase", 1, 2.0),
    ]  # fmt: skip
    assert [each[:3] for each in logged(Path("logs/validation"))] == [("epoch_loss", 0, 0.75)]

    log.evaluation({"accuracy": 0.5, "loss": float("nan"), "confusion": [[1]], "count": 4}, step=2)
    log.close()
    found = [each[:3] for each in logged(Path("logs/test"))]
    assert found == [("evaluation_accuracy", 2, 0.5), ("evaluation_count", 2, 4.0)]


def test_a_folder_that_cannot_be_written_to() -> None:
    with pytest.raises(DiskError, match="--tensorboard"), TensorBoardLog("/proc/logs") as log:
        log.epoch(Epoch(1, 0.5, 0.25, 0.75, 0.5, 2.0))

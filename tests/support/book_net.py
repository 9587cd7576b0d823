"""The network of an old book, 784-300-50-50-50-50-10, as people wrote, trained and saved it with TensorFlow 1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1

WIDTHS = {"hidden1": 300, "hidden2": 50, "hidden3": 50, "hidden4": 50, "hidden5": 50, "outputs": 10}


@dataclass(frozen=True)
class BookNet:
    """A checkpoint of the network, and what its session said of some examples before it was closed.

    Attributes:
        prefix: What its files begin with.
        x: Examples.
        y: Their classes.
        logits: What the session put out for them.
        loss: The mean cross-entropy of that.
        values: Each variable's values, by name.
    """

    prefix: Path
    x: Any
    y: Any
    logits: Any
    loss: float
    values: dict[str, Any]


def trained_book_net(
    folder: Path, *, scope: str = "", steps: int = 20, version: int = 2, name: str = "my_model_final.ckpt"
) -> BookNet:
    """Returns the network after a few steps of Adam on random numbers that have classes.

    Args:
        folder: Where its files go.
        scope: What all variables' names begin with, such as `dnn/`.
        steps: How many steps.
        version: Of the format of checkpoints.
        name: The prefix of its files.
    """
    chance = np.random.default_rng(7)
    y = chance.integers(0, 10, 200)
    x = (chance.normal(size=(10, 784))[y] + chance.normal(size=(200, 784))).astype("float32")
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(42)
        inputs = v1.placeholder(tf.float32, (None, 784), name="X")
        labels = v1.placeholder(tf.int64, (None,), name="y")
        with v1.name_scope("dnn"):
            logits = _layers(inputs, scope)
        with v1.name_scope("loss"):
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        step = v1.train.get_or_create_global_step()
        with v1.name_scope("train"):
            train = v1.train.AdamOptimizer(0.001).minimize(loss, global_step=step)
        session.run(v1.global_variables_initializer())
        for _ in range(steps):
            session.run(train, {inputs: x, labels: y})
        told, lost = session.run((logits, loss), {inputs: x, labels: y})
        values = {each.op.name: session.run(each) for each in v1.global_variables()}
        folder.mkdir(parents=True, exist_ok=True)
        prefix = Path(v1.train.Saver(write_version=version).save(session, str(folder / name)))
    return BookNet(prefix, x, y, told, float(lost), values)


def _layers(x: Any, scope: str) -> Any:
    for name, width in WIDTHS.items():
        with v1.variable_scope(f"{scope}{name}"):
            kernel = v1.get_variable("kernel", (x.shape[1], width), initializer=v1.initializers.he_normal())
            bias = v1.get_variable("bias", (width,), initializer=v1.zeros_initializer())
            x = tf.matmul(x, kernel) + bias
            x = x if name == "outputs" else tf.nn.elu(x)
    return x

"""How to train, and what training did: plain data, without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zoo.errors import UsageError


@dataclass(frozen=True)
class FitSettings:
    """How to train.

    Attributes:
        epochs: At most so many passes over the examples.
        batch_size: Examples a step; the last batch of an epoch may be smaller.
        learning_rate: Of Adam (beta_1 0.9, beta_2 0.999).
        patience: Stop after so many epochs without a lower validation loss.
        seed: Of the order of the examples.
        shuffle: Whether each epoch has another order.
        passes: How often an epoch goes through the examples before the validation loss is looked at.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 0.001
    patience: int = 10
    seed: int = 0
    shuffle: bool = True
    passes: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "passes"):
            if getattr(self, name) < 1:
                raise UsageError(f"Expected {name} of at least 1; got {getattr(self, name)}.")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"Expected a learning rate above 0; got {self.learning_rate}.")

    def from_scratch(self, examples: int) -> FitSettings:
        """Returns settings fair to a net with random weights: as many steps as it wants.

        It may take 4,000 steps even where `examples` are few, and waits 400 of them for a better validation loss. An
        epoch has at least 20 steps.
        """
        passes = -(-20 * self.batch_size // examples)
        steps = -(-examples * passes // self.batch_size)
        epochs, patience = max(self.epochs, -(-4000 // steps)), max(self.patience, -(-400 // steps))
        return replace(self, epochs=epochs, patience=patience, passes=passes)


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch: means over the examples, and wall time (s)."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class History:
    """What training did: every epoch, which one was kept, steps taken, wall time (s), and why it ended."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    steps: int
    seconds: float
    stopped: str

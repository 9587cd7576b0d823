"""Looks for a learning rate to train a head, or a tail with it, for data of one's own."""

from __future__ import annotations

from typing import Any

import keras

from zoo.features import FeatureCache
from zoo.phases import first_features, with_features
from zoo.preparing import prepare
from zoo.progress import Progress
from zoo.training.rates import RateSearch, find_rate


def find_learning_rate(
    model: str | keras.Model = "letters-cnn",
    data: Any = "digits",
    *,
    first: float = 1e-6,
    last: float = 10.0,
    steps: int = 100,
    progress: Progress | None = None,
    **options: Any,
) -> RateSearch:
    """Returns how the loss behaves as the learning rate rises, and a rate to train with; nothing is trained.

    Args:
        model: As of `zoo.transfer`.
        data: Likewise.
        first: The lowest rate.
        last: The highest.
        steps: How many rates between them.
        progress: Told about features and steps.
        **options: Others of `zoo.transfer`.

    Raises:
        ZooError: As `zoo.transfer` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     found = find_learning_rate(train_per_class=10, home=home)
    ...     1e-4 < found.suggested < 1
    True
    """
    kept = {name: options.pop(name) for name in ("home", "engine", "precision") if name in options}
    for name in ("tensorboard", "search"):
        options.pop(name, None)
    job = prepare(model, data, **options, progress=progress)
    x = first_features(job, FeatureCache(**kept), progress)
    job = with_features(job, x)
    return find_rate(
        job.surgery.logits, job.part("train", x), job.settings.fit,
        objective=job.objective(), first=first, last=last, steps=steps, progress=progress,
    )  # fmt: skip

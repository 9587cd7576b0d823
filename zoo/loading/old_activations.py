"""Activations that Keras 2 had under names by which Keras 3 has others; `zoo.store.guards.keras2` puts them in."""

from __future__ import annotations

from typing import Any

import keras


def keras2_hard_sigmoid(x: Any) -> Any:
    """Returns `clip(0.2 x + 0.5, 0, 1)`, which was "hard_sigmoid" until Keras 3; there it is `relu6(x + 3) / 6`.

    A model with it is loaded by zoo as any other. Where Keras itself loads it, `import zoo.loading` comes first.
    """
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


keras.saving.register_keras_serializable(package="zoo")(keras2_hard_sigmoid)

"""What cannot be done, as the functions that convert operators say it; the conversion adds which node it was."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence


class Unsupported(Exception):  # noqa: N818
    """What a node asks for cannot be done; says why."""


class HugeConstant(Unsupported):
    """It asks for a constant that no model has."""


def shapes_hint(shapes: Mapping[str, Sequence[int | None]]) -> str:
    """Returns how to say the sizes of inputs, in Python and to `zoo convert`.

    >>> shapes_hint({"x": (None, 3, 8)})
    "onnx_to_keras(..., shapes={'x': (None, 3, 8)}); zoo convert --shape 'x=?,3,8'"
    """
    texts = {name: ",".join("?" if each is None else str(each) for each in sizes) for name, sizes in shapes.items()}
    options = " ".join(f"--shape {shlex.quote(f'{name}={text}')}" for name, text in texts.items())
    return f"onnx_to_keras(..., shapes={dict(shapes)}); zoo convert {options}"

"""What cannot be done, as the functions that convert operators say it; the conversion adds which node it was."""

from __future__ import annotations


class Unsupported(Exception):  # noqa: N818
    """What a node asks for cannot be done; says why."""


class HugeConstant(Unsupported):
    """It asks for a constant that no model has."""

"""Which function converts which operator, and of which versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.converters.importing.graph import ONNX

Converter = Callable[..., Any]


@dataclass(frozen=True)
class Known:
    """A function and the newest version of the operator that it was written for."""

    converter: Converter
    newest: int


_OPERATORS: dict[tuple[str, str], Known] = {}


def operator(*names: str, newest: int, domain: str = ONNX) -> Callable[[Converter], Converter]:
    """Declares that a function converts operators up to a version.

    The function is called with the builder, the node, and a value for each input: a `Tensor`, an array, or None for one
    that is left out. It returns the value that comes out, or a tuple of them.

    Raises:
        ValueError: Another function converts one of them.
    """

    def declare(converter: Converter) -> Converter:
        for name in names:
            if (domain, name) in _OPERATORS:
                raise ValueError(f"{name} has two converters")
            _OPERATORS[domain, name] = Known(converter, newest)
        return converter

    return declare


def known_operator(name: str, domain: str = ONNX) -> Known | None:
    """Returns who converts an operator."""
    return _OPERATORS.get((domain, name))


def operator_names() -> Sequence[str]:
    """Returns the operators of ONNX that are known."""
    return sorted(name for domain, name in _OPERATORS if domain == ONNX)

"""The methods of pretraining by name, and how plain options become the settings of one."""

from __future__ import annotations

import dataclasses
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.data import open_data
from zoo.errors import UsageError, nearest_names
from zoo.pretraining.autoencoders import pretrain_autoencoder
from zoo.pretraining.auxiliary import AuxiliarySettings, pretrain_auxiliary
from zoo.pretraining.belief_network import pretrain_rbm
from zoo.pretraining.contrastive_divergence import RBMSettings
from zoo.pretraining.corrupting import Corruption
from zoo.pretraining.pairs import PairSettings, pretrain_pairs
from zoo.pretraining.stack import AutoencoderSettings
from zoo.pretraining.steps import Learned
from zoo.training import FitSettings, Optimizer

_FITTING = ("epochs", "batch_size", "learning_rate", "patience", "seed", "optimizer")  # what is asked of any training
_CALLED = {"learning_rate": "lr"}  # as in `zoo.transfer`
_PARTS: dict[str, tuple[type, tuple[str, ...]]] = {
    "fit": (FitSettings, _FITTING),
    "corruption": (Corruption, ("mask", "noise")),
}


@dataclass(frozen=True)
class Method:
    """A way to make a model where there is none to reuse.

    Attributes:
        name: What it is called by.
        title: For people, with its article.
        settings: The class of its settings.
        run: What does it, as `zoo.pretraining.steps` says.
        needs_identities: Whether it looks at classes or groups.
    """

    name: str
    title: str
    settings: type
    run: Callable[..., Learned]
    needs_identities: bool = False

    def needs_classes(self, settings: Any) -> bool:
        """Returns whether it looks at classes, with these settings."""
        return self.needs_identities and settings.identity == "class"


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("autoencoder", "a stacked autoencoder", AutoencoderSettings, pretrain_autoencoder),
        Method("rbm", "a deep belief network", RBMSettings, pretrain_rbm),
        Method("auxiliary", "an auxiliary task", AuxiliarySettings, pretrain_auxiliary),
        Method("pairs", "pairs of the same", PairSettings, pretrain_pairs, needs_identities=True),
    )
}


def method_named(name: str) -> Method:
    """Returns the method of a name.

    Raises:
        UsageError: There is none.
    """
    if name not in METHODS:
        raise UsageError(
            f"Expected a method of {', '.join(METHODS)}; got {name!r}.{nearest_names(name, list(METHODS))}"
        )
    return METHODS[name]


def settings_of(method: Method, options: Mapping[str, Any]) -> Any:
    """Returns the settings of a method out of plain options, of which those that are None say nothing.

    Args:
        method: Which.
        options: By name: the fields of its settings, and of what these are made of.

    Raises:
        UsageError: An option that the method does not have, or a value that cannot be.

    >>> settings_of(METHODS["autoencoder"], {"units": [300, 100], "mask": 0.3, "lr": 0.01}).corruption.mask
    0.3
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("units", "conv"):
        if name in given:
            given[name] = _widths(name, given[name])
            if not given[name]:  # which is what a method without such layers has
                del given[name]
    known = option_names(method)
    if unknown := [name for name in given if name not in known]:
        raise UsageError(
            f"The method {method.name} has no {unknown[0]!r}. It has: {', '.join(sorted(known))}. "
            f"{_owners(unknown[0])}".rstrip()
        )
    if isinstance(given.get("optimizer"), str):
        given["optimizer"] = Optimizer(given["optimizer"])
    try:
        return method.settings(**dict(_arguments(method, given)))
    except TypeError as error:  # a text where a number is compared, say
        told = ", ".join(f"{name}={value!r}" for name, value in given.items() if name not in ("units", "conv"))
        raise UsageError(f"A setting of {method.name} is of the wrong kind ({error}); got {told}.") from error


def _arguments(method: Method, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the arguments of a method's settings, of which some are dataclasses themselves."""
    for field in dataclasses.fields(method.settings):
        if field.name in _PARTS:
            kind, names = _PARTS[field.name]
            yield field.name, kind(**_chosen(given, names))
        else:
            yield from _chosen(given, [field.name]).items()


def option_names(method: Method) -> set[str]:
    """Returns the names of the options that a method has."""
    fields = [field.name for field in dataclasses.fields(method.settings)]
    return {_CALLED.get(each, each) for name in fields for each in (_PARTS[name][1] if name in _PARTS else [name])}


def _chosen(given: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {field: given[name] for field in fields if (name := _CALLED.get(field, field)) in given}


def _widths(name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(operator.index(width) for width in (value if isinstance(value, Sequence) else [value]))
    except TypeError:
        raise UsageError(f"Expected {name} as whole numbers, such as (300, 100); got {value!r}.") from None


def _owners(option: str) -> str:
    """Returns whose option it is, that was given to another method; empty where it is nobody's."""
    if owners := [method.name for method in METHODS.values() if option in option_names(method)]:
        return f"{option!r} is of {', '.join(owners)}."
    if option in inspect.signature(open_data).parameters:
        return f"It is of the data: zoo.open_data(..., {option}=...)."
    return ""

"""Which units `--reuse` and `--freeze` name: a number, a layer's name, a pattern of layer names, or `all`."""

from __future__ import annotations

import re

from zoo.errors import CutError, nearest_names
from zoo.surgery.units import Units, is_opaque

Depth = int | str


def select_units(
    units: Units, reuse: Depth = "all", freeze: Depth | None = None, *, name: str | None = None
) -> tuple[int, int]:
    """Returns (N, K): the model's lowest N units are reused, the lowest K of those are frozen.

    Args:
        units: The model's units.
        reuse: A number 0..U-1 (0..U of a model without classifier), `"all"` (the most), the exact name of a layer in
            the highest unit to reuse, or a regular expression whose whole matches among layer names are units 1..N
            without a gap.
        freeze: The same, at most `reuse`; None freezes all that is reused.
        name: What users call the model; None: as Keras does.

    Raises:
        CutError: There is no such cut; the message names the valid range and the nearest legal cut.
    """
    highest, name = units.most, name or units.model.name
    reused = _depth(units, reuse, "reuse", highest, name)
    if reused > highest:
        classifier = f", and the last, {units[-1].name!r}, is the classifier that is always replaced"
        last = "" if units.headless else classifier
        raise CutError(
            f"Expected --reuse 0 to {highest}; got {reuse}. {name} has {len(units)} units{last}. Nearest: "
            f"--reuse {highest}. See them all: zoo layers {name}"
        )
    frozen = reused if freeze is None or freeze == "all" else _depth(units, freeze, "freeze", reused, name)
    if frozen > reused:
        raise CutError(
            f"Expected --freeze 0 to {reused}, for only reused units can be frozen; got --freeze {freeze} with "
            f"--reuse {reuse}. Nearest: --freeze {reused}, or --reuse {min(frozen, highest)} --freeze {frozen}."
        )
    for option, depth in (("reuse", reused), ("freeze", frozen)):
        _refuse_illegal(units, option, depth, name)
    return reused, frozen


def _depth(units: Units, wanted: Depth, option: str, highest: int, model: str) -> int:
    if isinstance(wanted, bool) or not (isinstance(wanted, str) or hasattr(wanted, "__index__")):
        raise CutError(f"Expected --{option} as a number or a layer's name; got {wanted!r}.")
    name = str(wanted)
    if name == "all":
        return highest
    if re.fullmatch(r"[+-]?\d+", name):
        if int(name) < 0:
            raise CutError(f"Expected --{option} 0 to {highest}; got {wanted}. Nearest: --{option} 0.")
        return int(name)
    return units.unit_of(name) or _matched_depth(units, name, option, model)


def _matched_depth(units: Units, pattern: str, option: str, model: str) -> int:
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise CutError(f"--{option} {pattern!r} is no layer's name and no regular expression: {error}.") from error
    matched = [unit.index for unit in units if any(regex.fullmatch(layer) for layer in unit.layers)]
    if not matched:
        near = nearest_names(pattern, [layer for unit in units for layer in unit.layers])
        raise CutError(f"--{option} {pattern!r} matches no layer of {model}.{near} See: zoo layers {model}")
    missing = sorted(set(range(1, matched[-1] + 1)) - set(matched))
    if missing:
        names = ", ".join(f"{number} ({units[number - 1].name})" for number in missing)
        raise CutError(
            f"--{option} {pattern!r} matches units {', '.join(map(str, matched))}, but leaves out unit {names}; units "
            f"are reused from the first up without a gap. Nearest: --{option} {matched[-1]}."
        )
    return matched[-1]


def _refuse_illegal(units: Units, option: str, depth: int, model: str) -> None:
    if depth == 0 or units[depth - 1].legal:
        return
    legal = [0, *(unit.index for unit in units if unit.legal)]
    nearest = min(legal, key=lambda number: (abs(number - depth), -number))
    raise CutError(
        f"{model} cannot be cut above unit {depth} ({units[depth - 1].name}): {units[depth - 1].reason}. "
        f"Nearest legal cut: --{option} {nearest}."
    )


def refuse_to_train_opaque(units: Units, reuse: int, freeze: int, *, random: bool = False) -> None:
    """Refuses a cut by which a SavedModel would have to train, or a new head to read texts.

    Args:
        units: The model's units.
        reuse: How many are reused.
        freeze: How many of them are frozen.
        random: Whether what is not frozen starts from random weights.

    Raises:
        CutError: So it is; the message names what can be done.
    """
    for unit, calls in zip(units[freeze:reuse], units.calls[freeze:reuse], strict=False):
        if any(is_opaque(call.layer) for call in calls):
            way_on = "leave --compare-scratch out" if random else f"freeze it, as in --freeze {unit.index}"
            raise CutError(
                f"Unit {unit.index} ({unit.name}) of {units.model.name} is a SavedModel, kept whole: it cannot be "
                f"trained. Nearest: {way_on}."
            )
    if reuse == 0 and units.model.inputs[0].dtype == "string":
        raise CutError(f"{units.model.name} takes texts, which no new head can read. Nearest: --reuse 1.")

"""Restores variables of a model from a file of anybody's: all is compared before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from zoo.converters.restoring.layouts import DoesNotFitError, Layout, LayoutLike, parsed_layout
from zoo.converters.restoring.pairing import Rename, paired
from zoo.converters.restoring.patterns import Patterns, compiled, refuse_useless
from zoo.converters.restoring.report import RestoreReport, few, spoken
from zoo.converters.restoring.sources import Array, Source, SourceLike, opened_source
from zoo.converters.restoring.targets import Target, finalize, model_targets

from zoo.errors import IntegrityError, UsageError

_PIECE = 16 << 20  # bytes that are written at once


def restore(
    model: keras.Layer,
    source: SourceLike,
    *,
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    rename: Rename | None = None,
    layout: Mapping[str, LayoutLike] | None = None,
) -> RestoreReport:
    """Writes values of a source into the variables of a model, and returns what became of each.

    Names, shapes, kinds of numbers and the values themselves are seen through before anything is written: after an
    error the model is as it was. Values are read one variable at a time.

    Args:
        model: The model. A variable of it is called as its layers are: `hidden1/kernel`.
        source: A TensorFlow checkpoint (its prefix; TF 1 of both kinds, or TF 2), an `.npz`, `.safetensors` or `.h5`
            file, or arrays by their names. A file is opened as it is: of one that others made, `zoo.restore` sees
            first that it is harmless.
        include: Regular expressions, one or several, for the variables that are wanted: those whose name in the model,
            or in the source, one of them matches from its beginning, as `tf.get_collection(scope=...)` matches.
        exclude: The same for those that are left alone.
        rename: What the source's names become: replacements by regular expressions, which are searched for in the whole
            name and applied in their order; or a function, which may return None for what is not wanted.
        layout: How arrays of other frameworks lie, by regular expressions like `include`; the first that matches, and
            that is of as many axes as the array, counts. A text as `OIHW->HWIO flip HW` (`zoo.converters.restoring.
            layouts`), or a function of an array. Nothing is turned that is not declared.

    Raises:
        UsageError: An argument that cannot be right: a pattern that matches nothing, names that leave a choice.
        NotFoundError: There is no such file.
        IntegrityError: Variables have other shapes or kinds of numbers than the model's; the message lists them all.
            Or the file is damaged.
    """
    with opened_source(source) as opened:
        plan = planned(model, opened, include=include, exclude=exclude, rename=rename, layout=layout)
        return plan.carry_out()


@dataclass(frozen=True)
class Known:
    """What is known of a source without its user: no guess, but a table of a format.

    Attributes:
        names: The model's variable for each of the source, after it was renamed; what is not in here is not used.
        layouts: How the values lie that do not lie as in the model, by the model's variable.
    """

    names: Mapping[str, str]
    layouts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Move:
    target: Target
    name: str
    layout: Layout | Callable[[Array], Array] | None

    def values(self, source: Source) -> Array:
        values = np.asarray(source.read(self.name))
        if self.layout is None:
            return values
        return self.layout.apply(values) if isinstance(self.layout, Layout) else np.asarray(self.layout(values))


@dataclass(frozen=True)
class Plan:
    """What is to be written where.

    Attributes:
        report: What there will be to tell.
        moves: Each variable of the model with its name in the source.
        source: The source, which is open.
        model: The model.
    """

    report: RestoreReport
    moves: tuple[_Move, ...]
    source: Source
    model: keras.Layer

    def check(self) -> None:
        """Sees whether all can be written, and reads it once for that.

        Raises:
            IntegrityError: A variable has another shape or kind of numbers, or values that the model's cannot hold.
        """
        misfits = [text for move in self.moves for text in [_misfit(move, self.source)] if text]
        if misfits:
            listed = "; ".join(misfits)
            raise IntegrityError(
                f"{len(misfits)} of the {len(self.moves)} variables of {self.source.name} do not fit the model; "
                f"nothing was loaded. {listed}. Leave them away with exclude, or declare how they lie with layout."
            )
        for move in self.moves:
            _cast(_shaped(move, self.source), move.target.dtype, f"{self.source.name}: {spoken(move.name)}")

    def carry_out(self) -> RestoreReport:
        """Checks all, writes all, and returns the report; raises as `check` does."""
        self.check()
        self.write()
        return self.report

    def write(self) -> None:
        """Writes the values into the variables, one after the other, without a look at them."""
        for move in self.moves:
            what = f"{self.source.name}: {spoken(move.name)}"
            _write(move.target.variable, _cast(_shaped(move, self.source), move.target.dtype, what))
        finalize(self.model)


def planned(
    model: keras.Layer,
    source: Source,
    *,
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    rename: Rename | None = None,
    layout: Mapping[str, LayoutLike] | None = None,
    known: Known | None = None,
) -> Plan:
    """Returns what `restore` would do; the model may be bare, for only its names, shapes and types are read.

    Raises:
        UsageError: As `restore`, or no variable of the source is one of the model.
    """
    targets = model_targets(model)
    numbers = source.by_objects(model) if source.by_objects is not None and known is None else {}
    by_id = {id(each.variable): each.name for each in targets.values()}
    objects = {by_id[number]: name for name, number in numbers.items() if number in by_id}
    pairs = paired(targets, source, include, exclude, rename, known.names if known else None, objects)
    if not pairs.names:
        raise UsageError(
            f"{source.name} has none of the variables that are wanted: it has {few(list(source.variables))}; the model "
            f"has {few(list(targets))}. Say which is which with rename, as in "
            '{"^dnn/layer(\\d)/w$": "hidden\\1/kernel"}.'
        )
    layouts = _Layouts(layout or {}, known.layouts if known else {})
    moves = tuple(
        _Move(targets[target], name, layouts.of(target, name, len(source.variables[name].shape)))
        for target, name in pairs.names.items()
    )
    layouts.refuse_useless(moves)
    return Plan(pairs.report(), moves, source, model)


class _Layouts:
    """The layouts that a user has declared, each of which has to fit something."""

    def __init__(self, declared: Mapping[str, LayoutLike], known: Mapping[str, str]) -> None:
        self._known = [
            (text, compiled(text, "layout"), parsed_layout(each) if isinstance(each, str) else each)
            for text, each in declared.items()
        ]
        self._found = dict.fromkeys(declared, False)
        self._facts = {target: parsed_layout(text) for target, text in known.items()}

    def of(self, target: str, name: str, rank: int) -> Layout | Callable[[Array], Array] | None:
        for text, pattern, layout in self._known:
            is_of_rank = not isinstance(layout, Layout) or layout.fits(rank)
            if is_of_rank and (pattern.match(target) or pattern.match(name)):
                self._found[text] = True
                return layout
        fact = self._facts.get(target)
        return fact if fact is not None and fact.fits(rank) else None

    def refuse_useless(self, moves: tuple[_Move, ...]) -> None:
        refuse_useless(self._found, "layout", [f"{each.target.name} ({each.name})" for each in moves])


def _misfit(move: _Move, source: Source) -> str | None:
    """Returns how a variable does not fit, in words; None where it does."""
    saved, target = source.variables[move.name], move.target
    what = target.name if move.name == target.name else f"{target.name} (in the source {spoken(move.name)})"
    if _kind(saved.dtype) != _kind(target.dtype):
        return f"{what}: {target.dtype} expected, {saved.dtype} found"
    try:
        shape = _shape(move, source)
    except DoesNotFitError as error:
        return f"{what}: {error}"
    if shape != target.shape:
        turned = len(shape) > 1 and sorted(shape) == sorted(target.shape)
        hint = " (the same sizes in another order: declare it with layout)" if turned else ""
        return f"{what}: shape {_listed(target.shape)} expected, {_listed(shape)} found{hint}"
    return None


def _shape(move: _Move, source: Source) -> tuple[int, ...]:
    shape = source.variables[move.name].shape
    if move.layout is None:
        return shape
    return move.layout.shape(shape) if isinstance(move.layout, Layout) else move.values(source).shape


def _shaped(move: _Move, source: Source) -> Array:
    values = move.values(source)
    if values.shape != move.target.shape:  # a library told another before
        raise IntegrityError(f"{source.name}: {spoken(move.name)} changed its shape while it was read. Get it again.")
    return values


def _listed(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _kind(dtype: str) -> str:
    if dtype.startswith(("float", "bfloat")):
        return "float"
    try:
        return np.dtype(dtype).kind
    except TypeError:
        return dtype


def _cast(values: Array, dtype: str, what: str) -> Array:
    """Returns numbers in the model's type.

    Raises:
        IntegrityError: Some have no equal there.
    """
    with np.errstate(over="ignore"):
        result = values.astype(_numpy_type(dtype), copy=False)
    if result.dtype != values.dtype:  # of two of one size, one may have the larger range
        is_float = _kind(dtype) == "float"
        lost = ~np.isfinite(result) & np.isfinite(values) if is_float else result.astype(values.dtype) != values
        if lost.any():
            raise IntegrityError(f"{what} has values beyond the range of {dtype}; nothing was loaded.")
    return result


def _numpy_type(dtype: str) -> Any:
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, dtype)) if hasattr(ml_dtypes, dtype) else np.dtype(dtype)


def _write(variable: Any, values: Array) -> None:
    if not values.shape or values.nbytes <= _PIECE:
        variable.assign(values)
        return
    rows = max(1, _PIECE * len(values) // values.nbytes)
    for start in range(0, len(values), rows):
        # Keras' own assign() holds the tensor three times meanwhile.
        variable.value[start : start + rows].assign(values[start : start + rows])

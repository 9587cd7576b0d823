"""Examples: labelled pictures or rows, each known by its content.

Two steps, never mixed: a source *reads* an example (bytes to uint8 pixels, or a row of numbers); what a model wants
to see is made of that in `zoo.data.preprocessing`. Nothing here knows of models.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo.data.bad_files import BadFile, BadFilePolicy
from zoo.data.targets import Task, target_names, targets_of_array
from zoo.errors import DataError

if TYPE_CHECKING:
    from zoo.registry import InputSpec

Ids = NDArray[np.uint8]
Rows = NDArray[np.int64]

_AT_ONCE = 256


class Examples(Protocol):
    """A set of labelled examples.

    Attributes:
        name: What the user called it.
        classes: Names of the classes, in the order of their numbers.
        task: What the labels are.
        ids: uint8 [n, 32]: the sha256 of each example's content.
        labels: The target of each example: the number of its class, int64 [n]; of a `multilabel` task 1 for each label
            that it has, uint8 [n, classes]; of a `regression` its values, float32 [n, classes].
        shape: Shape of one decoded example; None in it where it varies; () of texts.
        decoding: What else than its identity decides how an example is read (a colour, say); the same for all of them.
        parts: int8 [n]: the part of each as the data itself says: 0 train, 1 validation, 2 test, -1 where it does not;
            None where it says nothing of any.
        groups: int64 [n]: examples with equal numbers belong on one side of a split; None: each for itself.
        paths: Where each lies, as people know it: a file, or a line of a table of texts; None for arrays.
        bad: What was passed over when the data was opened.
        policy: How much of that is too much.
    """

    name: str
    classes: tuple[str, ...]
    task: Task
    ids: Ids
    labels: NDArray[Any]
    shape: tuple[int | None, ...]
    decoding: dict[str, Any]
    parts: NDArray[np.int8] | None
    groups: NDArray[np.int64] | None
    bad: tuple[BadFile, ...]
    policy: BadFilePolicy

    @property
    def paths(self) -> Sequence[str] | None:
        """Where each lies, as people know it; None for arrays."""

    def __len__(self) -> int:
        """The number of examples."""

    def read(self, rows: Rows) -> Sequence[NDArray[Any]] | NDArray[Any]:
        """Returns the decoded examples at `rows`: pictures are uint8 [height, width, channels]; texts `str`.

        Several threads may call it at once.

        Raises:
            DataError: A file cannot be decoded, or is no longer the one that was looked at; the message names it.
        """

    def seen_by(self, spec: InputSpec | None) -> Examples:
        """Returns the same examples decoded as suits what a model wants to see, and says so in `decoding`."""


class ArrayExamples:
    """Examples in memory.

    Args:
        x: [n, ...]: pictures (uint8 [n, height, width, channels]) or rows of numbers.
        y: [n]: class names or numbers; None where there are no labels.
        name: What to call the set.
        classes: Names of the classes where `y` holds their numbers 0..len(classes)-1; or of its columns.
        parts: int8 [n]: the part of each, as in `Examples`.
        groups: int64 [n]: what belongs together, as in `Examples`.
        task: What `y` holds: classes; `multilabel`: 0 or 1 for each label, [n, labels]; `regression`: values, [n] or
            [n, outputs].

    Raises:
        DataError: `x` and `y` differ in length, or `x` is not an array of numbers.

    >>> ArrayExamples(np.zeros((3, 8, 8, 1), np.uint8), ["cat", "dog", "cat"]).labels
    array([0, 1, 0])
    """

    paths: Sequence[str] | None = None
    opened: dict[str, Any] | None = None

    def __init__(
        self,
        x: Any,
        y: Any = None,
        name: str = "arrays",
        classes: Sequence[str] | None = None,
        parts: NDArray[np.int8] | None = None,
        groups: NDArray[np.int64] | None = None,
        task: Task = "classification",
    ) -> None:
        self.x = _as_array(x, "examples")
        if self.x.ndim < 2 or self.x.dtype.kind not in "uifb":
            texts = " Texts come in a .csv with columns text,label." if self.x.dtype.kind in "UOT" else ""
            raise DataError(
                f"Expected examples as an array of numbers [n, ...]; got {self.x.dtype} {list(self.x.shape)}.{texts}"
            )
        self.name, self.task = name, task
        self.classes, self.labels = number_targets(np.zeros(len(self.x), int) if y is None else y, task, classes)
        if len(self.labels) != len(self.x):
            raise DataError(f"Expected one label per example; got {len(self.x)} examples, {len(self.labels)} labels.")
        self.ids = row_ids(self.x)
        self.shape: tuple[int | None, ...] = tuple(self.x.shape[1:])
        self.decoding: dict[str, Any] = {}
        self.parts, self.groups = parts, groups
        self.bad: tuple[BadFile, ...] = ()
        self.policy = BadFilePolicy()

    def __len__(self) -> int:
        return len(self.x)

    def read(self, rows: Rows) -> NDArray[Any]:
        """Returns the examples at `rows`, [len(rows), ...]."""
        return self.x[rows]

    def seen_by(self, spec: InputSpec | None) -> ArrayExamples:
        """Returns the same examples: nothing is left to decode."""
        return self


def are_texts(examples: Any) -> bool:
    """Returns whether examples are texts: what has no shape at all."""
    return tuple(examples.shape) == ()


def are_pictures(examples: Any) -> bool:
    """Returns whether examples are pictures: files of such, or arrays of bytes with a height, a width and channels."""
    if examples.paths is not None:
        return not are_texts(examples)
    return len(examples.shape) == 3 and examples.read(np.arange(1))[0].dtype == np.uint8


def excerpt(text: str, most: int = 280) -> str:
    r"""Returns the beginning of a text, on one line.

    >>> excerpt("so   good\nthat I saw it twice", 12)
    'so good tha…'
    """
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[: most - 1]}…"


def row_ids(x: NDArray[Any]) -> Ids:
    """Returns the identity of each row of `x`: uint8 [n, 32], the sha256 of its dtype, shape and bytes."""
    dtype = x.dtype.newbyteorder("<")
    prefix = f"{dtype.str} {list(x.shape[1:])} ".encode()
    digests = []
    for begin in range(0, len(x), _AT_ONCE):  # which may lie on disk, and be larger than memory
        rows = np.ascontiguousarray(x[begin : begin + _AT_ONCE], dtype)
        digests += [hashlib.sha256(prefix + row.tobytes()).digest() for row in rows]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(x), 32)


def number_targets(y: Any, task: Task, classes: Sequence[str] | None) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Returns the names of the classes, and the target of each example; see `Examples.labels`.

    Raises:
        DataError: They are no such targets.
    """
    if task == "classification":
        return number_classes(y, classes)
    return targets_of_array(_as_array(y, "targets"), task, classes)


def number_classes(y: Any, classes: Sequence[str] | None) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Returns the names of the classes and the number of each label: of names, or of numbers of the `classes` given.

    Raises:
        DataError: They are no labels.
    """
    y = _as_array(y, "labels")
    if y.ndim != 1:
        hint = " For one-hot labels: y.argmax(axis=1); for several labels each: task='multilabel'." * (y.ndim == 2)
        raise DataError(f"Expected one label per example, [n]; got labels {list(y.shape)}.{hint}")
    if y.dtype.kind == "f" and classes is None:
        if not np.isfinite(y).all():
            raise DataError("Expected labels as names or numbers; got some that are not finite (NaN).")
        y = y.astype(np.int64) if np.all(y == np.rint(y)) else y
    if classes is None:
        try:
            names, labels = np.unique(y, return_inverse=True)
        except TypeError as error:
            raise DataError(f"Expected labels all of one kind, names or numbers: {error}.") from error
        return tuple(str(name) for name in names), labels.astype(np.int64)
    if y.dtype.kind not in "ui" or (len(y) and not 0 <= y.min() <= y.max() < len(classes)):
        raise DataError(f"Expected labels 0..{len(classes) - 1}, the numbers of the classes {list(classes)}.")
    return tuple(classes), y.astype(np.int64)


def _as_array(values: Any, what: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(f"Expected {what} that are all of one shape: {error}.") from error


class SomeExamples:
    """Some rows of other examples, as examples of their own, in the order given."""

    def __init__(self, examples: Examples, rows: Rows) -> None:
        self._examples, self._rows = examples, rows
        self.name, self.classes, self.task = examples.name, examples.classes, examples.task
        self.shape, self.decoding = examples.shape, examples.decoding
        self.ids, self.labels = examples.ids[rows], examples.labels[rows]
        self.parts = None if examples.parts is None else examples.parts[rows]
        self.groups = None if examples.groups is None else examples.groups[rows]
        self.bad, self.policy = examples.bad, examples.policy

    @property
    def paths(self) -> Sequence[str] | None:
        """Where each lies, as people know it; None for arrays."""
        paths = self._examples.paths
        return None if paths is None else Selected(paths, self._rows)

    @property
    def inspections(self) -> Sequence[Any] | None:
        """What is known of the file of each (`zoo.data.inspecting.Inspection`); None for arrays."""
        inspections = getattr(self._examples, "inspections", None)
        return None if inspections is None else Selected(inspections, self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: Rows) -> Sequence[NDArray[Any]] | NDArray[Any]:
        """Returns the decoded examples at `rows`."""
        return self._examples.read(self._rows[rows])

    def opened_rows(self, rows: Rows) -> Rows:
        """Returns the numbers that `rows` have in the data as it was opened."""
        return opened_rows(self._examples, self._rows[rows])

    def seen_by(self, spec: InputSpec | None) -> SomeExamples:
        """Returns the same rows of the examples decoded as suits `spec`."""
        return SomeExamples(self._examples.seen_by(spec), self._rows)

    def without_labels(self) -> SomeExamples:
        """Returns the same rows of the examples without labels."""
        return SomeExamples(without_labels(self._examples), self._rows)


def opened_rows(examples: Examples, rows: Rows) -> Rows:
    """Returns the numbers that rows have in the data as it was opened, however they were chosen and put in order.

    >>> some = SomeExamples(ArrayExamples(np.zeros((9, 2))), np.array([7, 3]))
    >>> opened_rows(SomeExamples(some, np.array([1])), np.array([0])).tolist()
    [3]
    """
    return examples.opened_rows(rows) if isinstance(examples, SomeExamples) else rows


def as_classes(examples: Examples) -> Examples:
    """Returns the same examples with one class each, for figures of classes.

    That of several labels is the set of them; values are all of one class.
    """
    if examples.task == "classification":
        return examples
    seen = copy.copy(examples)
    if examples.task == "regression":
        seen.classes, seen.labels = ("any value",), np.zeros(len(examples), np.int64)
        return seen
    sets, seen.labels = np.unique(examples.labels, axis=0, return_inverse=True)
    seen.labels = seen.labels.reshape(-1).astype(np.int64)
    seen.classes = tuple(name or "no label" for name in target_names(sets, examples.classes, examples.task))
    return seen


def without_labels(examples: Examples) -> Examples:
    """Returns the same examples, all of one class without a name.

    >>> without_labels(ArrayExamples(np.zeros((2, 3)), ["cat", "dog"])).classes
    ('',)
    """
    if isinstance(examples, SomeExamples):
        return examples.without_labels()
    seen = copy.copy(examples)
    seen.classes, seen.task, seen.labels = ("",), "classification", np.zeros(len(examples), np.int64)
    return seen


class Selected(Sequence[Any]):
    """Some items of a sequence, in the order of `rows`; nothing is copied."""

    def __init__(self, items: Sequence[Any], rows: Rows) -> None:
        self._items, self._rows = items, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: Any) -> Any:
        """Returns the item at a number, or those of a slice."""
        if isinstance(at, slice):
            return Selected(self._items, self._rows[at])
        return self._items[int(self._rows[at])]

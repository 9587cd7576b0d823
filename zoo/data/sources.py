"""Opens what `--data` names: embedded digits, folders and tables of pictures, tables of texts, NPZ files; or arrays."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zoo.data.bad_files import BadFilePolicy
from zoo.data.examples import ArrayExamples, Examples, without_labels
from zoo.data.targets import TASKS, Task
from zoo.errors import DataError, NotFoundError, UsageError, nearest_names

if TYPE_CHECKING:
    from zoo.progress import Progress

_TABLES = (".csv", ".tsv")
_LINES = ".txt"


def open_data(
    spec: Any,
    *,
    bad_files: Literal["skip", "fail"] = "skip",
    max_bad: float = 0.01,
    min_side: int = 1,
    frames: Literal["first", "error"] = "first",
    group_by: str | None = None,
    follow_links: bool = False,
    near_duplicates: bool = True,
    task: Task | None = None,
    unlabelled: bool = False,
    progress: Progress | None = None,
) -> Examples:
    """Returns the examples that `spec` names.

    Picture files are each looked at once, ever: what was seen is remembered in `$ZOO_HOME/contents.sqlite`.

    Args:
        spec: `"digits"` (scikit-learn's 1,797 handwritten digits, 8x8 gray), a part of them (`"digits:5-9"`,
            `"digits:0,2,4-6"`); a folder with a sub-folder of pictures for each class, or with `train/`, `val/` and
            `test/` folders of such; a `.csv` file with columns `path,label` and, if you like, `split`, for pictures, or
            `text,label` for texts; an `.npz` file with arrays `x`, `y` and, if you like, `x_test`, `y_test`; an array
            `x`, a pair of arrays `(x, y)`, or examples opened before, which come back as they are.
        bad_files: `skip`: files that cannot be used are passed over, and listed in `bad`; `fail`: refuse them.
        max_bad: The share (0..1) of files that may be passed over.
        min_side: Pictures with a shorter side (pixels) than that are bad.
        frames: Of animations and pictures of several pages: take the `first`; `error`: such files are bad.
        group_by: What belongs on one side of a split: for a table the name of a column; for an `.npz` file that of an
            array; for a folder a regular expression that is searched in each path relative to it, whose first group
            (or all that matched) names the group.
        follow_links: Follow symbolic links below a folder, out of it too.
        near_duplicates: Keep pictures that are nearly the same on one side of a split.
        task: What the labels are. `classification`: each example has one class. `multilabel`: it has any of several
            labels, `a|b` in a table, or `y` of 0 and 1, [n, labels]. `regression`: numbers. None: classes, but several
            labels where a table has a `|` in any.
        unlabelled: Labels are not looked at, and need not be there: all examples are of one class without a name. A
            folder is then taken with all pictures in it and below it, a table needs only `path` or `text`, an `.npz`
            file only `x`; and a `.txt` file has a text a line.
        progress: Told of the files that are looked at.

    Raises:
        NotFoundError: There is no such data.
        DataError: There is, but not in a form that can be used, or too much of it is bad.
        UnsafeFileError: An `.npz` file has pickles, or claims sizes that it cannot have.
        UsageError: An option that cannot be right.

    >>> examples = open_data("digits:5-9")
    >>> len(examples), examples.classes, examples.shape
    (896, ('5', '6', '7', '8', '9'), (8, 8, 1))
    >>> open_data("digits", unlabelled=True).classes
    ('',)
    """
    policy = BadFilePolicy(bad_files, max_bad)
    _check_options(min_side, frames, task, unlabelled=unlabelled)
    if isinstance(spec, str | bytes | os.PathLike):
        name = os.fsdecode(spec)
        options = {
            "bad_files": bad_files, "max_bad": max_bad, "min_side": min_side, "frames": frames, "group_by": group_by,
            "follow_links": follow_links, "near_duplicates": near_duplicates, "task": task,
            "unlabelled": unlabelled,
        }  # fmt: skip
        examples: Any = _named(name, policy, options, progress, is_text=isinstance(spec, str))
        examples.opened = {"spec": name, "options": options}
        return examples  # type: ignore[no-any-return]
    if hasattr(spec, "read") and hasattr(spec, "ids"):
        _refuse_grouping(group_by, "examples that are open already")
        return without_labels(spec) if unlabelled else spec
    _refuse_grouping(group_by, "arrays")
    if isinstance(spec, tuple):
        if len(spec) != 2:
            raise DataError(f"Expected a pair of arrays (x, y); got {len(spec)} of them.")
        if unlabelled:
            return without_labels(ArrayExamples(spec[0]))
        return ArrayExamples(*spec, task=task or "classification")
    examples = ArrayExamples(spec)
    return without_labels(examples) if unlabelled else examples


def _named(
    name: str, policy: BadFilePolicy, options: Mapping[str, Any], progress: Progress | None, *, is_text: bool
) -> Examples:
    """Returns the examples of a name or a path."""
    group_by, task = options["group_by"], options["task"]
    if is_text and (name == "digits" or name.startswith("digits:")):
        _refuse_grouping(group_by, name)
        _refuse_task(task, name)
        digits = _digits(name, name.partition(":")[2])
        return without_labels(digits) if options["unlabelled"] else digits
    path = _existing(name)
    if path.suffix.lower() == ".npz" and not path.is_dir():
        from zoo.data.npz_examples import NpzExamples

        return NpzExamples(path, name, group_by, task or "classification", unlabelled=options["unlabelled"])
    return _listed(name, path, policy, options, progress)


def _check_options(min_side: int, frames: str, task: str | None, *, unlabelled: bool) -> None:
    if task is not None and task not in TASKS:
        raise UsageError(f"Expected a task of {', '.join(TASKS)}; got {task!r}.")
    if unlabelled and task not in (None, "classification"):
        raise UsageError(f"Unlabelled data has no labels, and so no task; got task={task!r}.")
    if min_side < 1:
        raise UsageError(f"Expected a shortest side of 1 pixel or more; got min_side={min_side}.")
    if frames not in ("first", "error"):
        raise UsageError(f"Expected frames 'first' or 'error'; got {frames!r}.")


def _refuse_grouping(group_by: str | None, name: str) -> None:
    if group_by is not None:
        raise UsageError(f"There are no columns or paths to group {name} by; got group_by={group_by!r}.")


def _refuse_task(task: Task | None, name: str) -> None:
    if task not in (None, "classification"):
        raise UsageError(f"{name} has classes; {task} wants a .csv, an .npz file or arrays.")


def _existing(name: str) -> Path:
    """Returns the path that is called so.

    Raises:
        NotFoundError: There is nothing.
    """
    expected = (
        "Expected digits, or a part of them such as digits:5-9; a folder of pictures, a .csv or an .npz file; from "
        "Python, arrays (x, y) too."
    )
    if not name or "\0" in name:
        raise NotFoundError(f"No data named {name!r}. {expected}")
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # ~somebody who is not known here
        path = Path(name)
    if not path.exists():
        try:
            beside = [*(each.name for each in path.parent.iterdir()), "digits", "digits:5-9"]
        except OSError:
            beside = ["digits", "digits:5-9"]
        raise NotFoundError(f"No data named {name!r}.{nearest_names(path.name, beside)} {expected}")
    return path


def _listed(
    name: str, path: Path, policy: BadFilePolicy, options: Mapping[str, Any], progress: Progress | None
) -> Examples:
    from zoo.data.image_folder import list_folder
    from zoo.data.pictures import PictureRules, open_listing
    from zoo.data.table import list_table, names_texts

    group_by, follow_links, unlabelled = options["group_by"], options["follow_links"], options["unlabelled"]
    if path.is_dir():
        _refuse_task(options["task"], f"The folder {name}")
        listing = list_folder(name, str(path), follow_links=follow_links, group_by=group_by, unlabelled=unlabelled)
    elif path.suffix.lower() in _TABLES and names_texts(path):
        from zoo.data.text import open_texts

        return open_texts(name, path, group_by=group_by, task=options["task"], policy=policy, unlabelled=unlabelled)
    elif path.suffix.lower() == _LINES and unlabelled:
        from zoo.data.text import open_lines

        _refuse_grouping(group_by, name)
        return open_lines(name, path, policy)
    elif path.suffix.lower() == _LINES:
        raise DataError(
            f"Expected labelled data; {path} has a text a line, and no labels. Make it a .csv with columns text,label; "
            "or learn from it without labels: zoo pretrain auxiliary (Python: open_data(..., unlabelled=True))."
        )
    elif path.suffix.lower() in _TABLES:
        listing = list_table(name, path, group_by=group_by, task=options["task"], unlabelled=unlabelled)
    else:
        raise DataError(f"Expected a folder of pictures, a .csv (of pictures or texts) or an .npz file; got {path}.")
    rules = PictureRules(
        policy, options["min_side"], options["frames"] == "error", options["near_duplicates"], follow_links
    )
    return open_listing(listing, rules, progress)


def _digits(name: str, part: str) -> ArrayExamples:
    from sklearn.datasets import load_digits

    wanted = _parse_digits(name, part)
    data = load_digits()
    rows = np.isin(data.target, wanted)
    # scikit-learn counts 0..16 inked pixels per cell; a decoded picture is uint8 0..255.
    pictures = np.rint(data.images[rows] * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    return ArrayExamples(pictures, np.searchsorted(wanted, data.target[rows]), name, [str(digit) for digit in wanted])


def _parse_digits(name: str, part: str) -> list[int]:
    """Returns the digits, sorted, that `part` ("" for all, "3", "5-9", "0,2,4-6") names."""
    if name == "digits":
        return list(range(10))
    digits: set[int] = set()
    for piece in part.split(","):
        match = re.fullmatch(r"([0-9])(?:-([0-9]))?", piece.strip())
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise DataError(f"Data {name!r}: {piece!r} is no digit or range; expected digits:5-9 or digits:0,2,4-6.")
        digits.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    if len(digits) < 2:
        raise DataError(f"Data {name!r} has one class; a classifier needs at least two, such as digits:5-9.")
    return sorted(digits)

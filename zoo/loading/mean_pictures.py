"""The mean picture that comes with some Caffe nets, as the numbers that say how pictures are preprocessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.store.unpacking import shown

_SUFFIX = ".binaryproto"
_DIGITS = 4  # behind the point, of values 0..255


def without_mean_picture(
    paths: Sequence[Path], preprocess: str | None, numbers: Mapping[str, Any]
) -> tuple[list[Path], dict[str, Any], list[str]]:
    """Returns the other files, the numbers with those of a mean picture, and what there is to say of it.

    A mean picture is of one size, and what is subtracted here is one number for each channel, as most who use such nets
    do: the mean of each of its channels. Caffe reads pictures as BGR, and subtracts before it scales.

    Args:
        paths: All files, a mean picture (`.binaryproto`) perhaps among them.
        preprocess: A name for how pictures become numbers, where one was said.
        numbers: What was said in numbers: `color`, `scale`, `mean`, `std`.

    Raises:
        UsageError: There are several, or a mean was said too, or it comes without a Caffe net.
        IntegrityError: It is damaged, or something else.
    """
    pictures = [path for path in paths if path.suffix.casefold() == _SUFFIX]
    others = [path for path in paths if path not in pictures]
    if not pictures:
        return others, dict(numbers), []
    if len(pictures) > 1 or not any(path.suffix.casefold() == ".prototxt" for path in others):
        raise UsageError(
            f"Expected at most one mean picture ({_SUFFIX}), beside a .prototxt and its .caffemodel; got "
            f"{len(pictures)} and {len(others)} other files."
        )
    if preprocess is not None or numbers["mean"] is not None:
        raise UsageError(
            f"The mean is said twice: by {shown(pictures[0].name)}, and by --preprocess or --mean (Python: preprocess, "
            "mean). Leave one of them away."
        )
    from zoo.converters.caffe.means import read_mean  # here: few models come with one

    picture = read_mean(pictures[0])
    scale = 1.0 if numbers["scale"] is None else numbers["scale"]
    means = [round(float(each), _DIGITS) for each in picture.mean(axis=(1, 2), dtype="float64")]
    color = numbers["color"] or ("gray" if len(means) == 1 else "BGR")
    found = {**numbers, "color": color, "scale": scale, "mean": tuple(each * scale for each in means)}
    note = (
        f"Of {shown(pictures[0].name)}, {picture.shape[1]} x {picture.shape[2]} pixels, the mean of each channel is "
        f"subtracted: {', '.join(map(str, means))} ({color})."
    )
    return others, found, [note]

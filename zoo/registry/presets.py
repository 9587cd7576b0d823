"""Ways to make numbers of pictures that have a name: for models whose files do not tell how they were trained.

Nothing here is ever taken without being asked for: a wrong one gives plausible, wrong answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zoo.errors import NotFoundError, UsageError, nearest_names
from zoo.registry.entry import Color, InputSpec
from zoo.registry.index import find_entry


class Preset(NamedTuple):
    """A way to make numbers of pictures.

    Attributes:
        what: What it does, for people.
        color: Channel order.
        scale: Factor on pixel values 0..255.
        mean: Subtracted after scaling.
        std: Divided by last.
    """

    what: str
    color: Color
    scale: float
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


PRESETS = {
    "none": Preset("RGB 0..255 as they are; also where preprocessing is inside the model", "RGB", 1.0),
    "unit": Preset("RGB 0..1", "RGB", 1 / 255),
    "tf": Preset("RGB -1..1", "RGB", 1 / 127.5, (1.0,)),
    "torch": Preset(
        "RGB 0..1, minus ImageNet's mean, over its deviation", "RGB", 1 / 255, (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    ),
    "caffe": Preset("BGR 0..255, minus ImageNet's mean", "BGR", 1.0, (103.939, 116.779, 123.68)),
}  # fmt: skip
COLORS: tuple[Color, ...] = ("RGB", "BGR", "gray")


def chosen_input(
    size: tuple[int | None, int | None, int],
    preprocess: str | None = None,
    *,
    color: str | None = None,
    scale: float | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
) -> InputSpec:
    """Returns what a model wants to see, as its user says it.

    Args:
        size: Height, width and channels.
        preprocess: A key of `PRESETS`, or the name of a model in the registry that wants the same.
        color: Instead: channel order, `RGB`, `BGR` or `gray`.
        scale: With it: the factor on pixel values 0..255.
        mean: Subtracted after scaling: a number, or one for each channel; None: nothing.
        std: Divided by last, likewise.

    Returns:
        The spec. Where nothing was said, `scale` is None: not known, and refused where pictures come.

    Raises:
        UsageError: What was said is too little, too much, names neither preset nor model, or contradicts itself.

    >>> chosen_input((224, 224, 3), "tf").mean
    (1.0,)
    """
    numbers = {"color": color, "scale": scale, "mean": mean, "std": std}
    given = [name for name, value in numbers.items() if value is not None]
    if preprocess is not None:
        if given:
            raise UsageError(f"Expected preprocess or numbers; got preprocess={preprocess!r} and {', '.join(given)}.")
        return _preset(size, preprocess) if preprocess in PRESETS else _shared(size, preprocess)
    if not given:
        return InputSpec(size, color="gray" if size[2] == 1 else None, scale=None)
    color = color or ("gray" if size[2] == 1 else None)
    if color is None or scale is None:
        missing = " and ".join(name for name, value in (("color", color), ("scale", scale)) if value is None)
        raise UsageError(
            f"{', '.join(given)} alone {'do' if len(given) > 1 else 'does'} not say how pictures become numbers: give "
            f"{missing} too (color is RGB or BGR; scale is 1 where pixels stay 0..255). Nothing is guessed."
        )
    return _checked(InputSpec(size, color=_color(color, size[2]), scale=scale, mean=_values(mean), std=_values(std)))


def _preset(size: tuple[int | None, int | None, int], name: str) -> InputSpec:
    preset = PRESETS[name]
    if len(preset.mean) > 1 and size[2] != len(preset.mean):
        fitting = ", ".join(each for each, other in PRESETS.items() if len(other.mean) <= 1)
        raise UsageError(
            f"The preprocessing {name} is for pictures of {len(preset.mean)} channels; this model takes {size[2]}. "
            f"Choose one of {fitting}, or say it in numbers: scale, mean and std."
        )
    color: Color = "gray" if size[2] == 1 else preset.color
    return _checked(InputSpec(size, color=color, scale=preset.scale, mean=preset.mean, std=preset.std))


def _shared(size: tuple[int | None, int | None, int], name: str) -> InputSpec:
    """Returns the preprocessing of another model, at this size."""
    spec = find_preprocessing(name)
    same = spec.size == size
    return _checked(
        InputSpec(
            size,
            color=_color(spec.color or "", size[2]),
            scale=spec.scale,
            mean=spec.mean,
            std=spec.std,
            resize=spec.resize,
            fit=spec.fit if same else None,  # a crop is of a size
            resize_to=spec.resize_to if same else None,
        )
    )


def find_preprocessing(name: str) -> InputSpec:
    """Returns how the model `name` of the registry wants pictures, where that is known in numbers.

    Raises:
        UsageError: There is no such model, or it is not known.
    """
    try:
        other = find_entry(name)
    except NotFoundError as error:
        near = nearest_names(name, PRESETS) or f" {error}"
        raise UsageError(
            f"Expected preprocessing to be one of {', '.join(PRESETS)}, or a model's; got {name!r}.{near}"
        ) from error
    spec = other.input
    if spec is None or spec.scale is None or spec.color is None or (spec.mean_file and not spec.mean):
        raise UsageError(
            f"How {other.name} wants pictures is not known in numbers itself. Say it in numbers (color, scale, mean, "
            f"std), or choose one of {', '.join(PRESETS)}."
        )
    return spec


def _color(color: str, channels: int) -> Color:
    found = next((each for each in COLORS if each.casefold() == color.casefold()), None)
    if found is None:
        raise UsageError(f"Expected color to be one of {', '.join(COLORS)}; got {color!r}.")
    if (found == "gray") != (channels == 1):
        raise UsageError(
            f"The model takes pictures of {channels} channel{'s' * (channels != 1)}; these would be {found}."
        )
    return found


def _values(values: Sequence[float] | float | None) -> tuple[float, ...]:
    if values is None:
        return ()
    return (float(values),) if isinstance(values, int | float) else tuple(map(float, values))


def _checked(spec: InputSpec) -> InputSpec:
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) not in (0, 1, spec.size[2]):
            raise UsageError(f"Expected 1 or {spec.size[2]} values of {name}, for as many channels; got {len(values)}.")
    if 0 in spec.std or spec.scale == 0:
        raise UsageError("Expected std and scale other than 0: every picture would look the same, or like nothing.")
    return spec

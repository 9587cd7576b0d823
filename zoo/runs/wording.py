"""How numbers are said on pages and cards: percent, sizes, durations, counts with their noun."""

from __future__ import annotations

from collections.abc import Iterable

_SPACE = "\u00a0"


def percent(share: float, digits: int = 1) -> str:
    """Returns a share in percent, which never rounds to all or nothing.

    >>> percent(0.9999), percent(1.0), percent(0.931)
    ('> 99.9\\xa0%', '100\\xa0%', '93.1\\xa0%')
    """
    least = 10.0**-digits
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", f"{_SPACE}%")
    if 100 * share >= 100 - least / 2:
        return f"> {100 - least:.{digits}f}{_SPACE}%"
    if 100 * share < least / 2:
        return f"< {least:.{digits}f}{_SPACE}%"
    return f"{100 * share:.{digits}f}{_SPACE}%"


def size(count: float) -> str:
    """Returns a number of bytes.

    >>> size(5560128)
    '5.56\\xa0MB'
    """
    units = iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 1000 and unit != "TB":
        count, unit = count / 1000, next(units)
    return f"{count:.3g}{_SPACE}{unit}" if count < 1000 else f"{count:,.0f}{_SPACE}{unit}"


def duration(seconds: float) -> str:
    """Returns seconds as people say them.

    >>> duration(0.007), duration(37.4), duration(123)
    ('7\\xa0ms', '37.4\\xa0s', '2\\xa0min 3\\xa0s')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f}{_SPACE}ms"
    if seconds < 60:
        return f"{seconds:.3g}{_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{_SPACE}min {rest}{_SPACE}s"
    return f"{minutes // 60}{_SPACE}h {minutes % 60}{_SPACE}min"


def number(value: float) -> str:
    """Returns a number with all its digits, by thousands."""
    return f"{value:,.12g}"


def small(value: float) -> str:
    """Returns a number with three digits, without zeros at its end."""
    return "0" if value == 0 else f"{value:.3g}"


def loss(value: float) -> str:
    """Returns a number with three digits.

    >>> loss(0.12), loss(1234.5)
    ('0.120', '1,230')
    """
    if 1000 <= abs(value) < 1e9:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:#.3g}".rstrip(".")


def count(amount: int, noun: str) -> str:
    """Returns a number and its noun.

    >>> count(1, "unit"), count(1200, "class")
    ('1\\xa0unit', '1,200\\xa0classes')
    """
    plural = noun if amount == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{amount:,}{_SPACE}{plural}"


def shape(sizes: Iterable[object], between: str = "\u00a0×\u00a0") -> str:
    """Returns sizes with a sign between them; None is any."""
    return between.join("any" if each is None else str(each) for each in sizes)


def spoken(figure: str) -> str:
    """Returns the name of a figure for people.

    >>> spoken("layer1_squared_error")
    'layer 1: squared error'
    """
    layer, _, rest = figure.partition("_")
    if layer.removeprefix("layer").isdecimal():
        return f"layer {layer.removeprefix('layer')}: {rest.replace('_', ' ')}"
    return figure.replace("_", " ")


FILTERS = {
    "percent": percent, "bytes": size, "duration": duration, "number": number, "small": small, "loss": loss,
    "count": count, "shape": shape,
}  # fmt: skip

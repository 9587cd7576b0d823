"""Words around a refusal: which file it is about, and what to do. Knows no format, and judges nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zoo.errors import IntegrityError, UnsafeFileError


@contextmanager
def explained(name: str, what: str) -> Iterator[None]:
    """Adds to the cause of a refusal which file it is about, as what it was read, and what to do.

    Args:
        name: What the file is called.
        what: What it should be, with its article: "an ONNX model".
    """
    try:
        yield
    except UnsafeFileError as error:
        raise UnsafeFileError(
            f"Refused {name} before anything opened it: expected {what}, but {error}. Get another copy from where it "
            "came from; if that is the same, look into it by hand before you use any of it."
        ) from error
    except IntegrityError as error:
        raise IntegrityError(
            f"{name} is damaged or something else: expected {what}, but {error}. Get it again from where it came "
            "from, or export it again."
        ) from error

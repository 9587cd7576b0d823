"""What the pages for people share: templates that escape all they are given, and pictures inside the page."""

from __future__ import annotations

import base64
import io
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2
    import numpy as np
    from numpy.typing import NDArray

_EXACT_PIXELS = 128
_JOINERS = "\u200c\u200d"  # of Persian and of emoji: unseen, and harmless


def page_environment(package: str) -> jinja2.Environment:
    """Returns what renders the templates of a package; texts are escaped, and hidden characters show as codes."""
    import jinja2
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, ""),
        autoescape=True,
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(picture: NDArray[np.uint8], pixels: int) -> str:
    """Returns a small picture exactly (PNG), and a large one reduced to `pixels` (JPEG).

    Args:
        picture: uint8 [height, width, 1 or 3].
        pixels: Of the longer side of a large one.
    """
    from PIL import Image

    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    file, kind = io.BytesIO(), "png"
    if max(image.size) > _EXACT_PIXELS:
        image.thumbnail((pixels, pixels))
        kind = "jpeg"
    image.save(file, kind, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def visible(text: str) -> str:
    """Returns `text` with control, direction and lone surrogate characters spelled out.

    >>> visible("a\u202eb")
    'a\\\\u202eb'
    """
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(
        f"\\u{ord(each):04x}" if unicodedata.category(each) in hidden and each not in _JOINERS else each
        for each in text
    )

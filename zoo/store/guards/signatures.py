"""What files of formats begin with, where more than one guard asks for it. Knows bytes alone, and no guard."""

from __future__ import annotations

HDF5 = b"\x89HDF\r\n\x1a\n"
NPY = b"\x93NUMPY"

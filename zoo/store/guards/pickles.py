"""Refuses pickles, under whatever name: by what they begin with, and as PyTorch packs them. None is ever opened.

A pickle in disguise passes, so that nothing may be unpickled for having passed. Names of formats are not known here.
"""

from __future__ import annotations

import re
from pathlib import Path

from zoo.errors import UnsafeFileError
from zoo.store.guards.zip_names import zip_names
from zoo.store.unpacking import Source, opened, shown

_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".dill")
_OPCODES = frozenset(b"(.012FIJKLMNPQRSTUVXabcdeghijlopqrstu}])\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b"
                     b"\x8c\x8d\x8e\x8f\x90\x92\x93\x94\x95\x96\x97\x98BC")  # fmt: skip
_TEXT = re.compile(rb"c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\(?[dl]p\d+\n|\(c?(?:[A-Za-z_][\w.]*\n){2}|[\]}]q\0")
_OLD_TORCH = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # a number that the oldest PyTorch files begin with


def refuse_pickle(path: Path) -> None:
    """Refuses a file that is a pickle by its name or by its content.

    Raises:
        UnsafeFileError: It is one, or a zip with one in it.
        NotFoundError: There is no such file.
        DiskError: It cannot be read.
    """
    with opened(path) as source:
        kind = _pickle_in(source)
    if kind is None and (suffix := path.suffix.casefold()) in _SUFFIXES:
        kind = f"{suffix} files are pickles"
    if kind is not None:
        raise UnsafeFileError(
            f"Refused {path} unopened: {kind}. A pickle runs code when it is opened; zoo opens none by design. Export "
            "the model to ONNX, or its weights to .npz or safetensors, with the tool that made it, where you trust the "
            "file to run; zoo takes ONNX and .npz."
        )


def _pickle_in(source: Source) -> str | None:
    """Returns how a file is a pickle, or None."""
    head = source.read_at(0, min(source.size, 64))
    if head.startswith(_OLD_TORCH):
        return "it is a PyTorch file of the old kind, a pickle"
    if len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5 and head[2] in _OPCODES:
        return f"it begins as a pickle of protocol {head[1]}"
    if _TEXT.match(head):
        return "it begins as a pickle of protocol 0"
    if head.startswith(b"PK\3\4"):
        for name in zip_names(source):
            if name.casefold().endswith(_SUFFIXES[:2]):
                return f"it is a zip with the pickle {shown(name)} in it, as PyTorch writes them"
    return None

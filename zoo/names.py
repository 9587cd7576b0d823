"""Names that become paths: which are safe on every system. Nothing here touches a disk."""

from __future__ import annotations

import re
import unicodedata

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*")
_LONGEST_NAME = 150
_LONGEST_PATH = 1024
_LONGEST_PART = 255
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"
}
_FORBIDDEN = set('<>:"|?*\\')


def path_fault(path: str) -> str | None:
    """Returns why `path` (parts between slashes) must not be joined to a folder, or None where it may.

    What POSIX or Windows would read as something else than a file below the folder is a fault on both.

    >>> path_fault("variables/variables.index")
    >>> path_fault("../.bashrc")
    "it has the part '..'"
    >>> path_fault("aux.txt")
    "its part 'aux.txt' is a device on Windows"
    """
    if len(path.encode("utf-8", "surrogatepass")) > _LONGEST_PATH:
        return f"it is longer than {_LONGEST_PATH} bytes"
    for part in path.split("/"):
        if fault := _part_fault(part):
            return fault
    return None


def _part_fault(part: str) -> str | None:
    if part in ("", ".", ".."):
        return f"it has the part {part!r}"
    if len(part.encode("utf-8", "surrogatepass")) > _LONGEST_PART:
        return f"a part of it is longer than {_LONGEST_PART} bytes"
    odd = [each for each in part if each in _FORBIDDEN or unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co", "Cn")]
    if odd:
        return f"its part {part!r} has the character {odd[0]!r}"
    if part.endswith((".", " ")) or part.startswith(" "):
        return f"its part {part!r} begins or ends with a space, or ends with a dot"
    if part.split(".")[0].rstrip().casefold() in _DEVICES:
        return f"its part {part!r} is a device on Windows"
    return None


def name_fault(name: str) -> str | None:
    """Returns why `name` cannot be a model's name, or None where it can.

    >>> name_fault("slim/vgg_16")
    >>> name_fault("my net")
    'it may have letters, digits and . _ + - only, in parts between slashes'
    >>> name_fault("")
    'it is empty'
    """
    if not name:
        return "it is empty"
    if len(name) > _LONGEST_NAME:
        return f"it is longer than {_LONGEST_NAME} characters"
    if fault := path_fault(name):
        return fault
    if not _MODEL_NAME.fullmatch(name):
        return "it may have letters, digits and . _ + - only, in parts between slashes"
    if any(part.casefold().endswith(".json") for part in name.split("/")):
        return "a part of it ends with .json, which the store keeps for itself"
    return None


def folded(path: str) -> str:
    """Returns `path` as a file system without case, or with another Unicode form, would tell it from others."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())

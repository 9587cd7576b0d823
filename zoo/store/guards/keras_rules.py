"""Rules for names in the config of a Keras model that stand on none of our lists (`keras_names`): whose they may be.

Only texts are looked at, one at a time: where in a config they stand is not known here.
"""

from __future__ import annotations

import builtins
import keyword
import re
import sys
import unicodedata

from zoo.store.guards.keras_names import REFUSED

KERAS = {"keras", "tf_keras", "tensorflow"}
# Where nobody's own layers are: of these, a file can only want what they do.
NOBODYS = sys.stdlib_module_names | {"__builtins__", "absl", "cloudpickle", "dill", "h5py", "jax", "joblib", "numpy"}
NOBODYS |= {"pandas", "pil", "pip", "pkg_resources", "requests", "scipy", "setuptools", "sklearn", "torch", "urllib3"}

_REFUSED = {name.casefold(): why for name, why in REFUSED.items()}
NOT_LISTED = (
    "it is not among what zoo lets a file name: layers, operations, initializers and the like of Keras. If you know "
    "and trust it, build the model in Python and load its weights alone"
)


def is_name(text: str) -> bool:
    """Returns whether somebody may have named a class or function so: `Name`, or `package>Name` once registered."""
    package, _, name = text.rpartition(">")
    usual = name.isidentifier() and not keyword.iskeyword(name) and not hasattr(builtins, name)
    same = unicodedata.normalize("NFKC", text) == text and text.isprintable()
    return usual and same and root(package) not in KERAS | NOBODYS


def is_like_refused(class_name: str) -> bool:
    """Returns whether a name is that of a class that does harm, or looks like one."""
    return _plain(class_name) in _REFUSED


def why_refused(class_name: str) -> str:
    """Returns why a class is refused, and what to do."""
    return _REFUSED.get(_plain(class_name), NOT_LISTED)


def _plain(name: str) -> str:
    """Returns a name without what could hide it from the eye, or from a list: case, forms of letters, spaces."""
    letters = unicodedata.normalize("NFKC", name).casefold()
    return "".join(each for each in letters if each.isalnum() or each == "_")


def root(module: str) -> str:
    """Returns the package of a module, as it looks to the eye."""
    return _plain(module.split(".")[0])


def of_keras_3(module: str) -> str:
    """Returns where Keras 3 has what was in `module` of Keras 2."""
    module = module.removeprefix("tf_")
    return "keras.src.models.functional" if module.endswith(".engine.functional") else module


def version(text: str | None) -> tuple[int, ...]:
    """Returns a version as numbers that can be compared; () where there is none.

    >>> version("3.15.1.dev0"), version("2.9"), version(None)
    ((3, 15, 1), (2, 9, 0), ())
    """
    found = re.match(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", text or "")
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def installed_keras() -> str:
    """Returns the version of Keras that is installed here, without importing it."""
    import importlib.metadata  # here, for the sake of a quick `zoo list`

    return importlib.metadata.version("keras")

"""Judges the JSON config of a Keras model before Keras sees it: only names on our own lists pass (`keras_names`).

Keras builds whatever its config names, and its own guards have been passed by again and again. So each dict that says
`class_name`, wherever it stands, is judged by the names that Keras would look up; of names that are on no list,
`keras_rules` tells whose they may be. Nothing of Keras, and no code that a file names, is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from zoo.errors import IntegrityError, MissingClassError, UnsafeFileError
from zoo.store.guards.keras2 import upgraded, with_old_meanings
from zoo.store.guards.keras_json import parsed
from zoo.store.guards.keras_names import (
    ACTIVATIONS,
    BARE,
    CLASSES,
    LAYER_FUNCTIONS,
    LAYERS,
    LAYERS_OF_KERAS_2,
    NAMES,
    UNLISTED_LAYERS,
    UNLISTED_OPERATIONS,
)
from zoo.store.guards.keras_rules import (
    KERAS,
    NOBODYS,
    NOT_LISTED,
    installed_keras,
    is_like_refused,
    is_name,
    of_keras_3,
    root,
    version,
    why_refused,
)
from zoo.store.guards.keras_vocabularies import has_words_in_config, vocabulary_fault
from zoo.store.unpacking import shown

_Container: TypeAlias = dict[str, Any] | list[Any]

_FEW = 5  # names in a message

# Records of plain values, which Keras turns into tensors, slices and the like.
_VALUES = {"__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__", "__tuple__"}
_VALUES |= {"TensorShape"}
_ARRAYS = {"__numpy__", "__tensor__"}
_DTYPE = re.compile(r"bool|bfloat16|float8_e[45]m[23](fn)?|(float|u?int|complex)\d{1,3}")
_CLASS = re.compile(r"[A-Z][A-Za-z0-9_]*")


def checked_config(
    text: bytes | str, name: str, *, registered: Container[str] = (), saved_by: str | None = None
) -> dict[str, Any]:
    """Returns a model's parsed config, once all that it names is on our lists, without what `compile` was given.

    Args:
        text: The `config.json` of a `.keras` archive, or the attribute `model_config` of an `.h5` file.
        name: What the file is called in messages.
        registered: The names ("package>Name") of custom objects that the caller has imported and Keras knows.
        saved_by: The version of Keras that wrote it.

    Raises:
        UnsafeFileError: It names something that could do harm, or that is not on our lists.
        IntegrityError: It is no JSON of a model, needs custom objects that are not registered, or a newer Keras.

    >>> checked_config('{"class_name": "Lambda", "config": {"name": "f"}}', "x.h5")
    Traceback (most recent call last):
    ...
    zoo.errors.UnsafeFileError: Refused x.h5 unread: layer 'f' is a 'Lambda' (at the top of its config): it holds \
Python code, which runs when the model is loaded or used; build it from other layers, or write a class.
    """
    config = parsed(text, name)
    if not isinstance(config.get("class_name"), str) or "config" not in config:
        raise IntegrityError(
            f"Expected the config of a Keras model in {name}, a record with class_name and config; found "
            f"{_listed(config)}. Save the model again with model.save()."
        )
    config.pop("training_config", None)
    if (saved_by or "").split(".")[0] in ("1", "2"):
        config = with_old_meanings(config) if "module" in config else upgraded(config)
    judge = _Judge(name, registered, saved_by)
    judge.walk(config)
    judge.refuse_missing()
    return config


def _listed(config: dict[str, Any]) -> str:
    return f"one with {', '.join(map(shown, list(config)[:_FEW]))}" if config else "an empty one"


# --- judging what it names ---


@dataclass(frozen=True)
class _Place:
    """Where in the config something stands: its path, and the layer, or whatever has a name, around it."""

    path: str = ""
    owner: str = ""

    def below(self, key: str | int) -> _Place:
        if isinstance(key, int):
            return _Place(f"{self.path}[{key}]", self.owner)
        known = key if key.isidentifier() and key.isascii() and len(key) <= 40 else shown(key)
        return _Place(f"{self.path}.{known}" if self.path else known, self.owner)

    def __str__(self) -> str:
        path = self.path if len(self.path) <= 300 else f"{self.path[:140]} ... {self.path[-140:]}"
        return f"at {path}" if path else "at the top of its config"


@dataclass
class _Judge:
    """Walks a config, refuses at once what is unsafe, and gathers what is missing."""

    name: str
    registered: Container[str]
    saved_by: str | None
    custom: dict[str, str] = field(default_factory=dict)  # custom objects, and where the first of each stands
    newer: dict[str, str] = field(default_factory=dict)  # classes that a newer Keras has
    older: dict[str, str] = field(default_factory=dict)  # classes that Keras 2 had elsewhere
    gone: dict[str, str] = field(default_factory=dict)  # layers that only Keras 2 has

    def walk(self, config: dict[str, Any]) -> None:
        """Judges every record in `config`, and drops from each what `compile` was given."""
        waiting: list[Iterator[tuple[_Container, _Place]]] = [iter([(config, _Place())])]
        while waiting:
            following = next(waiting[-1], None)
            if following is None:
                waiting.pop()
                continue
            value, place = following
            if isinstance(value, dict) and "class_name" in value:
                place = self._judged(value, place)
            waiting.append(_containers(value, place))

    def refuse_missing(self) -> None:
        """Raises where Keras here could not build the model: something that it names is not there."""
        if self.gone:
            raise IntegrityError(
                f"{self.name} has what only Keras 2 had: {_told(self.gone)}. Use in Keras 3 "
                f"{'; '.join(LAYERS_OF_KERAS_2[name] for name in self.gone)}. Rebuild the model so and train it, or "
                "use this one with Keras 2 (tf_keras)."
            )
        if self.older:
            raise IntegrityError(
                f"{self.name} was saved by Keras 2, and Keras 3 cannot read that: {_told(self.older)}. Load it with "
                "Keras 2 (tf_keras) and save its weights as .h5; they load into the same model built with Keras 3."
            )
        if self.newer:
            raise IntegrityError(
                f"{self.name} was saved by Keras {shown(str(self.saved_by))}, newer than the "
                f"{installed_keras()} here, and needs what this version of zoo does not know: {_told(self.newer)}. "
                "Upgrade both (pip install --upgrade zoo-transfer keras), or save the model without it."
            )
        if self.custom:
            raise MissingClassError(
                f"{self.name} needs custom objects that are not there: {_told(self.custom)}. zoo imports no code that "
                "a file names. From Python, import the code that defines them, registered with "
                "@keras.saving.register_keras_serializable(package=...), before zoo.load_model."
            )

    def _judged(self, record: dict[str, Any], place: _Place) -> _Place:
        """Judges one record, and returns its place under its own name, for what stands inside."""
        place = _Place(place.path, _name_of(record) or place.owner)
        names = [record.get(key) for key in ("module", "registered_name")]
        if not isinstance(record["class_name"], str) or not all(isinstance(each, str | None) for each in names):
            self._refuse(record, place, "a name in it is no text")
        record.pop("compile_config", None)  # zoo never needs it, and Keras would build all that is in there
        class_name = record["class_name"]
        if has_words_in_config(record):
            if fault := vocabulary_fault(record["config"]):
                self._refuse(record, place, fault)
            return place
        if is_like_refused(class_name) and record.get("registered_name") in (None, "", class_name):
            self._refuse(record, place)
        if class_name == "function":
            self._judge_function(record, place)
        elif class_name in _VALUES and not record.get("module"):
            self._judge_value(record, place)
        elif "module" not in record:
            self._judge_bare(record, place)
        else:
            self._judge_class(record, record["module"] or "__main__", place)
        return place

    def _judge_value(self, record: dict[str, Any], place: _Place) -> None:
        config = record.get("config")
        dtype = config.get("dtype") if isinstance(config, dict) else None
        if record["class_name"] in _ARRAYS and not (isinstance(dtype, str) and _DTYPE.fullmatch(dtype)):
            self._refuse(record, place, "its dtype is not one of numbers")

    def _judge_function(self, record: dict[str, Any], place: _Place) -> None:
        """Judges a function by what stands as its `config`: Keras looks that up, and never its `registered_name`."""
        function = record.get("config")
        plain = record.get("module") in ("builtins", "keras.activations")
        if not plain or record.get("registered_name") not in (None, "function", function):
            self._refuse(record, place)
        if not isinstance(function, str) or not is_name(function):
            self._refuse(record, place)
        if function not in ACTIVATIONS and function not in self.registered:
            self.custom.setdefault(function, self._where(record, place))

    def _judge_bare(self, record: dict[str, Any], place: _Place) -> None:
        """Judges a record without module, as `.h5` files have them: Keras looks up its `class_name` alone."""
        class_name = record["class_name"]
        if record.get("registered_name") not in (None, "", class_name):
            self._refuse(record, place, "it has two names, and which of them Keras takes depends on its place")
        if class_name in self.registered and is_name(class_name):
            return
        if module := _missing_module(record):
            record |= {"module": module, "registered_name": class_name}
        if class_name in BARE or module:
            self._judge_names(record, place)
        elif class_name in LAYERS_OF_KERAS_2:
            self.gone.setdefault(class_name, self._where(record, place))
        else:
            self._judge_custom(record, "__main__", place)

    def _judge_class(self, record: dict[str, Any], module: str, place: _Place) -> None:
        class_name, also = record["class_name"], record.get("registered_name")
        if root(module) not in KERAS:
            self._judge_custom(record, module, place)
        elif class_name not in CLASSES.get(module, ()):
            self._judge_unknown(record, module, place)
        elif also not in (None, "", class_name):
            self._refuse(record, place, "it has two names, and Keras would take the other, registered one")
        else:
            self._judge_names(record, place)

    def _judge_unknown(self, record: dict[str, Any], module: str, place: _Place) -> None:
        """Judges what Keras would look for in itself: it may be of another version."""
        class_name = record["class_name"]
        if class_name in CLASSES.get(of_keras_3(module), ()):
            self.older.setdefault(class_name, self._where(record, place))
        elif class_name in LAYERS_OF_KERAS_2 and module == "keras.layers":
            self.gone.setdefault(class_name, self._where(record, place))
        elif module in CLASSES and _CLASS.fullmatch(class_name) and version(self.saved_by) > version(installed_keras()):
            self.newer.setdefault(class_name, self._where(record, place))
        else:
            self._refuse(record, place)

    def _judge_custom(self, record: dict[str, Any], module: str, place: _Place) -> None:
        """Judges what may be a class of the user's own: it passes where it is registered."""
        class_name = record["class_name"]
        key = record.get("registered_name") or class_name
        if root(module) in NOBODYS or not all(map(str.isidentifier, module.split("."))):
            self._refuse(record, place)
        if not is_name(key) or not class_name.rpartition(">")[2].isidentifier() or is_like_refused(key):
            self._refuse(record, place)
        if key not in self.registered:
            self.custom.setdefault(key, self._where(record, place))

    def _judge_names(self, record: dict[str, Any], place: _Place) -> None:
        """Judges the texts in the config of a class of Keras that stand for functions or small objects."""
        config = record.get("config")
        for key, value in config.items() if isinstance(config, dict) else ():
            kind = next((kind for kind in NAMES if key == kind or key.endswith(f"_{kind}")), "")
            if not kind or not isinstance(value, str) or value in NAMES[kind] or value in self.registered:
                continue
            where = f"{_owned(place)}has the {kind} {shown(value)} ({place.below('config').below(key)})"
            if not is_name(value):
                self._raise_unsafe(where, NOT_LISTED)
            self.custom.setdefault(value, where)

    def _where(self, record: dict[str, Any], place: _Place) -> str:
        what = str(record["class_name"])
        if what == "function":
            what = f"function {record.get('config')}"
        of = f" of {shown(record['module'])}" if isinstance(record.get("module"), str) else ""
        if isinstance(also := record.get("registered_name"), str) and ">" in also:
            of += f", registered as {shown(also)}"
        verb = "is" if _name_of(record) else "has"
        return f"{_owned(place)}{verb} a {shown(what)}{of} ({place})"

    def _refuse(self, record: dict[str, Any], place: _Place, reason: str = "") -> NoReturn:
        self._raise_unsafe(self._where(record, place), reason or why_refused(str(record["class_name"])))

    def _raise_unsafe(self, where: str, reason: str) -> NoReturn:
        raise UnsafeFileError(f"Refused {self.name} unread: {where}: {reason}.")


def _containers(value: _Container, place: _Place) -> Iterator[tuple[_Container, _Place]]:
    """Yields the dicts and lists in one, with their places: what else is in there names nothing by itself."""
    pairs: Iterable[tuple[str | int, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    return ((each, place.below(key)) for key, each in pairs if isinstance(each, dict | list))


def _name_of(record: dict[str, Any]) -> str:
    """Returns the name that a record has in its config, as layers and models do; "" where there is none."""
    config = record.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return name if isinstance(name, str) else ""


def _owned(place: _Place) -> str:
    return f"layer {shown(place.owner)} " if place.owner else "it "


def _is_layer(record: dict[str, Any]) -> bool:
    """Returns whether a record without module is a layer's; operations of the same names have no such key."""
    config = record.get("config")
    return isinstance(config, dict) and "trainable" in config


def _missing_module(record: dict[str, Any]) -> str | None:
    """Returns the module that a record without one needs, where Keras would find nothing by its name, or too much.

    Keras reads such layers by a way of their own, and takes texts in them that are names of its functions for these.
    """
    class_name = record["class_name"]
    if not _is_layer(record):  # its operations are among the layers too
        return UNLISTED_OPERATIONS.get(class_name) if "inbound_nodes" in record else None
    texts = {value for key, value in record["config"].items() if key != "name" and isinstance(value, str)}
    if class_name in LAYERS and texts & LAYER_FUNCTIONS:
        return "keras.layers"
    return UNLISTED_LAYERS.get(class_name)


def _told(missing: dict[str, str]) -> str:
    """Returns what is missing, a few in full."""
    first = "; ".join(list(missing.values())[:_FEW])
    return first if len(missing) <= _FEW else f"{first}; and {len(missing) - _FEW} more"

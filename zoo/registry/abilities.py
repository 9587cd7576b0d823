"""What this version can do with a model: pull its files, load it. Decided by its entry alone; no file is opened.

Of a model in an ONNX file only loading it tells for certain. Its entry tells of three kinds that cannot be loaded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from zoo.registry.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from zoo.registry.entry import Entry, FileSpec

Ability = Literal["pull", "load"]

_MODEL_FILES = (".keras", ".h5", ".hdf5", ".onnx")
_WEIGHT_FILES = (".h5", ".hdf5")
# The ONNX model zoo names its files NET-OPSET.onnx, with -int8 or -qdq behind that where they are quantized.
_QUANTIZED = re.compile(r".*-(int8|qdq)\.onnx", re.I)
_OLD = re.compile(r".*-([1-6])\.onnx", re.I)
_OLDEST = 7
# What ends in suppressing boxes, in loops or in regions of varying number: no layer is that.
# What `zoo.converters.slim` knows, of which a test sees that it is so.
_SLIM = re.compile(r"slim/(vgg_1[69]|resnet_v1_(50|101|152)|inception_v[13]|mobilenet_v1_.*)")
_DETECTORS = re.compile(r"((faster|mask)rcnn|ssd|(tiny-)?yolov[34])([-_.].*)", re.I)


def abilities(entry: Entry) -> tuple[Ability, ...]:
    """Returns what this version can do with a model: `pull` its files, `load` it as a Keras model.

    Of a model that was added here there is nothing to pull; where it cannot be loaded either, it is only kept.
    """
    has_address = any(file.urls for file in entry.files)
    pull: tuple[Ability, ...] = ("pull",) if has_address or entry.source == "embedded" else ()
    return (*pull, "load") if _is_loadable(entry) else pull


def why_not_loaded(entry: Entry) -> str | None:
    """Returns why a published ONNX or Caffe model is not loaded, in words; None where its entry does not tell."""
    if entry.source == "caffe":
        names = " and ".join(file.name for file in entry.files if not file.urls)
        return f"nobody published an address of {names}" if names else None
    if entry.source != "onnx":
        return None
    name = next((file.name for file in entry.files if file.role == "model"), "")
    if not name.casefold().endswith(".onnx"):
        return "it has no .onnx file"
    if _QUANTIZED.fullmatch(name):
        return "it is quantized: it computes with numbers of 8 bits, which Keras' layers do not"
    if old := _OLD.fullmatch(name):
        return f"it is of operator set {old[1]}, and {_OLDEST} is the oldest that onnxruntime still runs"
    if _DETECTORS.fullmatch(name):
        return "it ends in steps that are no layers, such as choosing among boxes"
    if entry.task == "preprocessing":
        return "it only prepares pictures"
    return None


def _is_loadable(entry: Entry) -> bool:
    match entry.source:
        case "embedded":
            return True
        case "keras":
            return _is_known_net(entry, tuple(file for file in entry.files if file.urls))
        case "onnx":
            return why_not_loaded(entry) is None
        case "caffe":
            return _is_caffe_net(tuple(file for file in entry.files if file.urls))
        case "tfhub":
            return any(file.role == "archive" and file.urls for file in entry.files)
        case "slim":
            return _SLIM.fullmatch(entry.name) is not None
        case "local":
            return _is_whole_model(entry) or _is_caffe_net(entry.files) or _is_known_net(entry, entry.files)


def _is_whole_model(entry: Entry) -> bool:
    return any(file.role == "model" and file.name.casefold().endswith(_MODEL_FILES) for file in entry.files)


def _is_caffe_net(files: tuple[FileSpec, ...]) -> bool:
    return {"definition", "weights"} <= {file.role for file in files}


def _is_known_net(entry: Entry, files: tuple[FileSpec, ...]) -> bool:
    """Returns whether some of `files` are weights of a net that Keras itself can build."""
    return entry.arch in ARCHITECTURES and any(
        file.role in ("weights", "weights_notop") and file.name.casefold().endswith(_WEIGHT_FILES) for file in files
    )

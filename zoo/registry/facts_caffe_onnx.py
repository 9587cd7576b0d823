"""Entries from what the Caffe and ONNX model zoos published.

Each function takes the collected facts of one source (parsed JSON) and returns its entries. A fact that was not
published stays None; whatever the facts say in words becomes numbers here.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from zoo.registry.entry import Color, Entry, FileSpec, InputSpec, OutputSpec
from zoo.registry.facts_tensorflow import COUNTED, Facts, imagenet_metrics


class _Net(NamedTuple):
    """Our name of a Caffe model, its architecture, its units where they are certain, what its figures are of."""

    name: str
    arch: str
    units: int | None = None
    metric: str = "imagenet"


# MobileNet v2 is not Keras' own: its first block expands too. A metric whose name says no ImageNet is a share of 1.
_CAFFE_NETS = {
    "bvlc_reference_caffenet": _Net("caffenet", "caffenet", 8),
    "bvlc_alexnet": _Net("alexnet", "alexnet", 8),
    "bvlc_googlenet": _Net("googlenet", "googlenet", 13),
    "bvlc_reference_rcnn_ilsvrc13": _Net("rcnn-ilsvrc13", "caffenet", 8, "ilsvrc13"),
    "finetune_flickr_style": _Net("flickr-style", "caffenet", 8, "flickr_style"),
    "VGG_ILSVRC_16_layers": _Net("vgg16", "vgg16", 16),
    "VGG_ILSVRC_19_layers": _Net("vgg19", "vgg19", 19),
    "nin_imagenet": _Net("nin", "nin"),
    "squeezenet_v1.0": _Net("squeezenet1.0", "squeezenet1.0"),
    "squeezenet_v1.1": _Net("squeezenet1.1", "squeezenet1.1"),
    "ResNet-50": _Net("resnet50", "resnet50", 18),
    "ResNet-101": _Net("resnet101", "resnet101", 35),
    "ResNet-152": _Net("resnet152", "resnet152", 52),
    "mobilenet_v1": _Net("mobilenet_v1", "mobilenet", 28),
    "mobilenet_v2": _Net("mobilenet_v2", "caffe_mobilenet_v2"),
    "lenet_iter_10000": _Net("lenet", "lenet", 4, "mnist"),
    "cifar10_quick": _Net("cifar10-quick", "cifar10-quick", 5, "cifar10"),
    "alexnet_places365": _Net("alexnet-places365", "alexnet", 8, "places365"),
    "googlenet_places365": _Net("googlenet-places365", "googlenet", 13, "places365"),
    "vgg16_places365": _Net("vgg16-places365", "vgg16", 16, "places365"),
    "resnet152_places365": _Net("resnet152-places365", "resnet152", 52, "places365"),
    "vgg16_hybrid1365": _Net("vgg16-hybrid1365", "vgg16", 16, "hybrid1365"),
    "ZFNet": _Net("zfnet", "zfnet"),
}
_CAFFE_COLORS: dict[str, Color] = {"BGR": "BGR", "grey": "gray"}
_SHORTER_SIDE_256 = ("shorter side 256 (isotropic)", "256xN")
# Where a repository has a file, and the page of somebody's gist; the ref is that of the weights, or the newest.
_REPOSITORY = re.compile(r"(?P<place>[\w.-]+/[\w.-]+)( .*)?")
_PINNED = re.compile(r"https://github\.com/(?P<place>[\w.-]+/[\w.-]+)/raw/(?P<ref>[0-9a-f]{40})/.*")
_GIST = re.compile(r"gist (?P<place>ksimonyan/[0-9a-f]+).*")  # others call their files otherwise
_PUBLISHERS_HASH = "sha1"  # in Caffe's readme.md files; the other kinds are those of Open Model Zoo
_REMARK = re.compile(r" [(].*[)]$")  # of whoever collected the facts, behind the publisher's own words

# Pictures as the models' READMEs say; READMEs of the others give code, or nothing.
_ONNX_TORCH = re.compile(
    r"(vgg(16|19)(-bn)?|resnet\d+-v[12]|mobilenetv2|squeezenet1\.[01]|shufflenet-v2)-\d+(-int8|-qdq)?"
)
_ONNX_LITE = re.compile(r"efficientnet-lite4-\d+(-int8|-qdq)?")
# Architecture and units by file name, for the nets that are certain; quantized ones have other layers.
_ONNX_NETS = [
    (re.compile(pattern + r"-\d+"), arch, units)
    for pattern, arch, units in (
        ("vgg16", "vgg16", 16),
        ("vgg16-bn", "vgg16-bn", 16),
        ("vgg19(-caffe2)?", "vgg19", 19),
        ("vgg19-bn", "vgg19-bn", 19),
        ("resnet18-v1", "resnet18", 10),
        ("resnet34-v1", "resnet34", 18),
        ("resnet50(-caffe2)?-v1", "resnet50", 18),
        ("resnet101-v1", "resnet101", 35),
        ("resnet152-v1", "resnet152", 52),
        ("bvlcalexnet", "alexnet", 8),
        ("caffenet", "caffenet", 8),
        ("rcnn-ilsvrc13", "caffenet", 8),
        ("googlenet", "googlenet", 13),
    )
]
_ONNX_SEEN = (
    "mobilenetv2-7", "mobilenetv2-10", "mnist-8", "emotion-ferplus-8", "emotion-ferplus-12-int8", "version-RFB-320",
    "arcfaceresnet100-8",
)  # fmt: skip
_ONNX_LFS_REPORT = "GitHub announced no LFS downloads of onnx/models from 2025-07-01 on"


def caffe_entries(facts: Facts) -> list[Entry]:
    """Returns the models of Caffe's model zoo and of those who published in its formats."""
    return [_caffe_entry(model, _CAFFE_NETS[model["name"]]) for model in facts["models"]]


def _caffe_entry(model: Facts, net: _Net) -> Entry:
    is_imagenet = net.metric == "imagenet"
    published = {key: model[key] for key in ("top1", "top5") if model[key] is not None}
    shares = {f"{net.metric}_{key}": round(value / 100, 4) for key, value in published.items()}
    unsoftened = model.get("note", "").startswith("no softmax")
    return Entry(
        name=f"caffe/{net.name}",
        source="caffe",
        arch=net.arch,
        task="image-classification",
        summary=f"{model['arch']} in Caffe's format, trained on {model['dataset']}",
        files=(_caffe_weights(model), _caffe_definition(model)),
        input=_caffe_input(model),
        output=OutputSpec(
            model["classes"],
            "imagenet1k" if is_imagenet else None,
            logits=True if unsoftened else None,
            background=None,
        ),
        metrics=imagenet_metrics(published) if is_imagenet else shares,
        units=net.units,
        license=model.get("licence"),
        origin=_caffe_origin(model),
        sources=_caffe_sources(model, net),
    )


def _caffe_origin(model: Facts) -> str | None:
    """Returns where the facts were read; None where the search for a publisher found nothing."""
    origin: str = model["source"][0]
    return None if origin.startswith("searched") else origin


def _caffe_weights(model: Facts) -> FileSpec:
    place, name = model["caffemodel_url"], f"{model['name']}.caffemodel"
    is_url = _is_url(place)
    if is_url and place.endswith(".caffemodel"):
        name = place.rpartition("/")[2]
    said = f"place: {_REMARK.sub('', place)}" if place else "no address is published"
    kind = _caffe_hash(model)
    return FileSpec(
        role="weights",
        name=name,
        urls=(place,) if is_url else (),
        hash=f"{kind}:{model[kind]}" if kind else None,
        hash_from=None if kind is None else "publisher" if kind == _PUBLISHERS_HASH else "third_party",
        bytes=model.get("size"),
        reported=None if is_url else said,
    )


def _is_url(place: str | None) -> bool:
    return place is not None and place.startswith(("http://", "https://"))


def _caffe_hash(model: Facts) -> str | None:
    """Returns the kind of the hash to go by: the publisher's own before any that others computed, however strong."""
    return next((kind for kind in (_PUBLISHERS_HASH, "sha256", "sha384") if model.get(kind)), None)


def _caffe_definition(model: Facts) -> FileSpec:
    """Returns the net's prototxt, whose place is published as a path in a repository, as a gist, or in other words."""
    place = model["deploy"]
    pin = re.search(r"sha256 ([0-9a-f]{64})", place)
    name = place.rpartition("/")[2] if place.endswith(".prototxt") else f"{model['name']}_deploy.prototxt"
    url = _caffe_definition_url(model, name)
    return FileSpec(
        role="definition",
        name=name,
        urls=(url,) if url else (),
        hash=f"sha256:{pin[1]}" if pin else None,
        hash_from="third_party" if pin else None,
        reported=f"place: {_REMARK.sub('', place)}",
    )


def _caffe_definition_url(model: Facts, name: str) -> str | None:
    """Returns the address by which GitHub gives what is at the published place; None where that is no place.

    Without its weights, which some have no address of, a definition is of no use.
    """
    place = model["deploy"]
    if not _is_url(model["caffemodel_url"]):
        return None
    if gist := _GIST.fullmatch(place):
        return f"https://gist.githubusercontent.com/{gist['place']}/raw/{name}"
    repository = _REPOSITORY.fullmatch(model["source"][0])
    if not place.endswith(".prototxt") or not repository:
        return None
    pinned = _PINNED.fullmatch(model["caffemodel_url"])
    ref = pinned["ref"] if pinned and pinned["place"] == repository["place"] else "HEAD"
    return f"https://raw.githubusercontent.com/{repository['place']}/{ref}/{place}"


def _caffe_input(model: Facts) -> InputSpec:
    """Returns the input; x is 0..255 here, as `raw_scale` 255 makes of Caffe's 0..1.

    Caffe subtracts the mean before it multiplies by `input_scale`; our mean is subtracted after scaling.
    """
    channels, height, width = model["input"]
    factor, resize_to = model["input_scale"], _caffe_resize(model.get("resize"))
    mean = model.get("mean_bgr") or model.get("mean_bgr_of_that_file") or []
    mean_file = None if mean else _caffe_mean_file(model)
    return InputSpec(
        size=(height, width, channels),
        color=_CAFFE_COLORS[model["channel_order"]],
        scale=factor if mean or mean_file else None,
        mean=tuple(round(value * factor, 9) for value in mean) if any(mean) else (),
        fit="center_crop" if resize_to else None,
        resize_to=resize_to,
        mean_file=mean_file,
    )


def _caffe_mean_file(model: Facts) -> str | None:
    """Returns the name of the file with the mean picture; None where the facts only speak of one."""
    name = _REMARK.sub("", model.get("mean_file", ""))
    return name if name.endswith(".binaryproto") else None


def _caffe_resize(published: list[int] | str | None) -> tuple[int, int] | int | None:
    if isinstance(published, list):
        height, width = published
        return height, width
    return 256 if published in _SHORTER_SIDE_256 else None


def _caffe_sources(model: Facts, net: _Net) -> dict[str, str]:
    said = {
        "metrics": model.get("protocol") if model["top1"] or model["top5"] else None,
        "units": COUNTED if net.units else None,
        "input": _caffe_mean_source(model),
    }
    others = [source for source in model["source"] if source.startswith("openvinotoolkit/")]
    kind = _caffe_hash(model)
    theirs = [key for key in ("size", "sha256", "sha384") if key in model and key in ("size", kind)]
    if others and theirs:
        said["files"] = f"{', '.join(theirs)}: {others[0]}"
    return {field: source for field, source in said.items() if source}


def _caffe_mean_source(model: Facts) -> str | None:
    if used := model.get("mean_bgr_used_by_others"):
        return f"the publisher's mean is {model['mean_file']}; others use {', '.join(map(str, used))} instead"
    if "mean_bgr_of_that_file" in model:
        return f"mean: the channels' means of {model['mean_file']}"
    if source := model.get("mean_from"):
        return f"mean: {source}"
    if "mean_bgr" not in model:
        if "mean_file" not in model:
            return "mean: not published"
        return f"mean: {model['mean_file']}" + ("" if _caffe_mean_file(model) else ", without numbers or a file")
    return None


def onnx_entries(facts: Facts) -> list[Entry]:
    """Returns the models of the ONNX model zoo."""
    origin = facts["source"].partition(" (")[0]
    return [_onnx_entry(model, origin) for model in facts["models"]]


def _onnx_entry(model: Facts, origin: str) -> Entry:
    name = model["path"].rpartition("/")[2]
    stem, accuracy = name.removesuffix(".onnx"), model["published_accuracy"]
    arch, units = next(((a, n) for pattern, a, n in _ONNX_NETS if pattern.fullmatch(stem)), (None, None))
    mirror = "was seen" if stem in _ONNX_SEEN else "follows a pattern and was not checked"
    spec = _onnx_input(model, stem)
    sources = {
        "metrics": accuracy and accuracy["source"],
        "input": "preprocessing: the model's README.md" if spec and spec.scale else None,
        "units": COUNTED if units else None,
    }
    return Entry(
        name=f"onnx/{stem}",
        source="onnx",
        arch=arch,
        task=_onnx_task(model["tags"]),
        summary=f"{model['model']} of the ONNX model zoo, opset {model['opset']}",
        files=(
            FileSpec(
                role="model",
                name=name,
                urls=(model["url_hf_pattern"], model["url_github_lfs"]),
                hash=f"sha256:{model['sha256']}",
                hash_from="publisher",
                bytes=model["bytes"],
                reported=f"{_ONNX_LFS_REPORT}; the Hugging Face address {mirror}",
            ),
        ),
        input=spec,
        output=_onnx_output(model),
        metrics=imagenet_metrics(accuracy or {}),
        units=units,
        license=model["license"] and model["license"]["readme_spdx"],
        origin=f"{origin}, {model['path']}",
        sources={field: source for field, source in sources.items() if source},
    )


def _onnx_task(tags: list[str]) -> str:
    """Returns the kind of model: the tag after `vision`, but for the graph that only prepares pictures."""
    task = "preprocessing" if "preprocessing" in tags else tags[1]
    return {"classification": "image-classification"}.get(task, task.replace(" ", "-"))


def _onnx_input(model: Facts, stem: str) -> InputSpec | None:
    size = next(filter(None, (_picture_size(port["shape"]) for port in model["inputs"] or [])), None)
    if size is None:
        return None
    if _ONNX_TORCH.fullmatch(stem):
        return InputSpec(size, scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    if _ONNX_LITE.fullmatch(stem):
        return InputSpec(size, color=None, scale=1.0, mean=(127.0,), std=(128.0,))
    return InputSpec(size, color=None, scale=None)


def _picture_size(shape: list[Any]) -> tuple[int | None, int | None, int] | None:
    """Returns height, width and channels of NCHW, NHWC or CHW with 1 or 3 channels; sizes that have names are None."""
    sizes: list[int | None] = [size if isinstance(size, int) else None for size in shape]
    if len(sizes) not in (3, 4):
        return None
    first, second, third = sizes[-3:]
    for channels, height, width in ((first, second, third), (third, first, second)):
        if channels == 1 or channels == 3:
            return height, width, channels
    return None


def _onnx_output(model: Facts) -> OutputSpec:
    """Returns the classes of a classifier with one published output of (batch, classes), or with sizes of 1 behind."""
    outputs = model["outputs"] or []
    sizes = outputs[0]["shape"][1:] if len(outputs) == 1 else []
    if model["tags"][1] != "classification" or "preprocessing" in model["tags"] or not sizes:
        return OutputSpec(logits=None, background=None)
    classes = math.prod(sizes)
    return OutputSpec(classes, "imagenet1k" if classes == 1000 else None, logits=None, background=None)

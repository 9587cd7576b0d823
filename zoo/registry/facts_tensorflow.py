"""Entries from what the TensorFlow world published: keras.applications, TF-Slim and TF Hub.

Each function takes the collected facts of one source (parsed JSON) and returns its entries. A fact that was not
published stays None; whatever the facts say in words becomes numbers here.
"""

from __future__ import annotations

from typing import Any

from zoo.registry.architectures import ARCHITECTURES
from zoo.registry.entry import Entry, FileSpec, InputSpec, OutputSpec

Facts = dict[str, Any]

COUNTED = "counted from the architecture, see docs/units.md"
_KERAS_NAMES = {architecture.function: name for name, architecture in ARCHITECTURES.items()}
# The modes of keras.applications' preprocess_input; a model that preprocesses inside takes 0..255 as they are.
_KERAS_MODES: dict[str, Facts] = {
    "caffe": {"color": "BGR", "mean": (103.939, 116.779, 123.68)},
    "tf": {"scale": 1 / 127.5, "mean": (1.0,)},
    "torch": {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "in_model": {},
}
_SLIM_MODES: dict[str, Facts] = {
    "vgg": {"mean": (123.68, 116.78, 103.94), "fit": "center_crop", "resize_to": 256},
    "inception": {"scale": 1 / 127.5, "mean": (1.0,)},
}
# Nets of keras.applications in TF-Slim. Not ResNet v1: slim puts the strides into the last block of a stage.
_SLIM_ARCHITECTURES = {"vgg_16": "vgg16", "vgg_19": "vgg19", "inception_v3": "inception_v3"}
# Inception v1: 3 convolutions, 9 blocks, a classifier; ResNets: stem, blocks, classifier.
_SLIM_UNITS = {"inception_v1": 13, "resnet_v1_50": 18, "resnet_v1_101": 35, "resnet_v1_152": 52}
_TFHUB_REPORT = (
    "tfhub.dev redirects to Kaggle Models since 2023-11-15; HTTP 403 was reported for other models of it "
    "(tensorflow/hub#922, #932)."
)
_TFHUB_COLOR = "colour order: www.tensorflow.org/hub/common_signatures/images"


def keras_entries(facts: Facts) -> list[Entry]:
    """Returns the models of keras.applications with the weights that its functions fetch."""
    return [_keras_entry(model) for model in facts["models"]]


def _keras_entry(model: Facts) -> Entry:
    name, accuracy = _KERAS_NAMES[model["name"]], model["published_accuracy"]
    size = (*model["input_size"], model["channels"])
    sources = {"units": COUNTED} | ({"metrics": accuracy["source"]} if accuracy else {})
    if note := model.get("input_size_note"):
        sources["input"] = f"size: {note}"
    return Entry(
        name=name,
        source="keras",
        arch=name,
        task="image-classification",
        summary=f"{model['name']} of keras.applications, trained on ImageNet",
        files=(_keras_file("weights", model["files"]["top"]), _keras_file("weights_notop", model["files"]["notop"])),
        input=InputSpec(size, resizable=True, **_KERAS_MODES[model["preprocessing"]["mode"]]),
        output=OutputSpec(classes=model["classes"], labels="imagenet1k"),
        metrics=imagenet_metrics(accuracy or {}),
        params=model["params"],
        units=ARCHITECTURES[name].units,
        license=model["weights_license"],
        cite=_arxiv(model["citation_arxiv"]),
        origin=model["source"],
        sources=sources,
    )


def _keras_file(role: str, file: Facts) -> FileSpec:
    digest = f"{file['algorithm']}:{file['file_hash']}" if file["file_hash"] else None
    return FileSpec(role, file["filename"], (file["url"],), digest, "publisher" if digest else None)


def slim_entries(facts: Facts) -> list[Entry]:
    """Returns the checkpoints of TF-Slim."""
    return [_slim_entry(model, facts["preprocessing"]["source"]) for model in facts["models"]]


def _slim_entry(model: Facts, preprocessing_source: str) -> Entry:
    name, classes, mode = model["name"], model["classes"], model["preprocessing"]
    arch, units = _slim_structure(name)
    pin, url = model.get("third_party_sha256_pin"), model["url"]
    numbers = _SLIM_MODES[mode] if mode else {"color": None, "scale": None}
    sources = {
        "input": preprocessing_source if mode else None,
        "output": model.get("classes_source"),
        "files": pin and f"sha256: {pin['source']}",
        "units": units and COUNTED,
    }
    return Entry(
        name=f"slim/{name}",
        source="slim",
        arch=arch,
        task="image-classification",
        summary=f"{name} of TF-Slim, a checkpoint trained on ImageNet",
        files=(
            FileSpec(
                role="archive",
                name=url.rpartition("/")[2],
                urls=(url,),
                hash=f"sha256:{pin['sha256']}" if pin else None,
                hash_from="third_party" if pin else None,
                bytes=model["size_bytes"],
                member=model.get("checkpoint_file"),
                reported=model.get("reported_dead"),
            ),
        ),
        input=InputSpec((*model["input_size"], 3), **numbers),
        output=_slim_output(classes, model["label_offset"]),
        metrics=imagenet_metrics(model),
        units=units,
        license=model["license"],
        cite=_arxiv(model["citation_arxiv"]),
        origin=model["source"],
        sources={field: source for field, source in sources.items() if source},
    )


def _slim_output(classes: int | None, label_offset: int | None) -> OutputSpec:
    if classes is None:
        return OutputSpec(logits=None, background=None)
    return OutputSpec(classes, "imagenet1k", logits=True, background=label_offset == 1)


def _slim_structure(name: str) -> tuple[str, int | None]:
    """Returns the name of the architecture and its number of units, where that is certain."""
    if name.startswith("mobilenet_v1_"):  # a chain of layers, of any width; only the full width is Keras' own
        arch = "mobilenet" if name.startswith("mobilenet_v1_1.0_") else "_".join(name.split("_")[:3])
        return arch, ARCHITECTURES["mobilenet"].units
    arch = _SLIM_ARCHITECTURES.get(name, f"slim_{name}")
    return arch, ARCHITECTURES[arch].units if arch in ARCHITECTURES else _SLIM_UNITS.get(name)


def tfhub_entries(facts: Facts) -> list[Entry]:
    """Returns the modules of TF Hub, pictures' and texts'."""
    return [_tfhub_entry(model) for model in facts["models"]]


def _tfhub_entry(model: Facts) -> Entry:
    handle = model["id"]
    sources = {
        "input": _TFHUB_COLOR if model["kind"] == "image" else None,
        "output": model.get("doc_suspect"),
        "cite": model.get("arxiv_note"),
        "files": "addresses: the handle and ?tf-hub-format=compressed, as tensorflow_hub 0.16.1 asks for it",
    }
    return Entry(
        name=f"tfhub/{handle}",
        source="tfhub",
        arch=model["architecture"],
        task=model["task"],
        summary=_tfhub_summary(model),
        files=(
            FileSpec(
                role="archive",
                name=f"{handle.replace('/', '_')}.tar.gz",
                urls=(model["download_url"],),
                bytes=model["size_bytes"],
                reported=_TFHUB_REPORT,
            ),
        ),
        input=_tfhub_input(model),
        output=_tfhub_output(model),
        metrics={},
        license=model["license"],
        cite=_arxiv(model["arxiv"]),
        origin=model["source"],
        sources={field: source for field, source in sources.items() if source},
    )


def _tfhub_summary(model: Facts) -> str:
    what = {
        "image-classification": "classifier",
        "image-feature-vector": "feature vectors of pictures",
        "text-embedding": "vectors of texts",
    }[model["task"]]
    form = {"hub": "TF 1 Hub module", "saved_model_2": "SavedModel"}[model["format"]]
    data = f", trained on {' and '.join(model['dataset'])}" if model["dataset"] else ""
    language = f" ({model['language']})" if model["language"] else ""
    return f"{model['architecture']} of TF Hub, {what}{language}, {form}{data}"


def _tfhub_input(model: Facts) -> InputSpec | None:
    if model["kind"] != "image":
        return None
    height, width = model["input_size"] or (None, None)
    scale = {None: None, (0, 1): 1 / 255}[model["value_range"] and tuple(model["value_range"])]
    return InputSpec((height, width, 3), resizable=model["input_size_fixed"] is False, scale=scale)


def _tfhub_output(model: Facts) -> OutputSpec:
    if model["task"] != "image-classification":
        return OutputSpec(features=model["num_features"] or model["embedding_dim"])
    labels = "imagenet1k" if model["labels_url"] else None
    return OutputSpec(model["num_classes"], labels, logits=None, background=model["has_background_class"])


def imagenet_metrics(published: Facts) -> dict[str, float]:
    """Returns the published figures on ImageNet, in percent, under our names."""
    keys = ("top1", "top5", "top1_error", "top5_error")
    return {f"imagenet_{key}": published[key] for key in keys if published.get(key) is not None}


def _arxiv(number: str | None) -> str | None:
    return number and f"arXiv:{number}"

"""Facts in the form in which they were collected, cut down to what each test is about."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.registry import Entry
from zoo.registry.architectures import ARCHITECTURES
from zoo.registry.facts_tensorflow import keras_entries, slim_entries, tfhub_entries

BUCKET = "https://storage.googleapis.com/tensorflow/keras-applications"


def keras_model(**changes: Any) -> dict[str, Any]:
    return {
        "name": "VGG16",
        "files": {
            "top": {"filename": "v.h5", "url": f"{BUCKET}/v.h5", "file_hash": "6" * 32, "algorithm": "md5"},
            "notop": {"filename": "n.h5", "url": f"{BUCKET}/n.h5", "file_hash": None, "algorithm": None},
        },
        "input_size": [224, 220],
        "channels": 3,
        "preprocessing": {"mode": "caffe"},
        "classes": 1000,
        "params": 138_357_544,
        "published_accuracy": {"top1": 71.3, "top5": 90.1, "size_mb": 528, "source": "the table"},
        "weights_license": None,
        "citation_arxiv": "1409.1556",
        "source": "keras 3.15.1 wheel",
        **changes,
    }


def slim_model(**changes: Any) -> dict[str, Any]:
    return {
        "name": "inception_v3",
        "url": "http://download.tensorflow.org/models/inception_v3_2016_08_28.tar.gz",
        "top1": 78.0,
        "top5": 93.9,
        "input_size": [299, 299],
        "classes": 1001,
        "label_offset": 1,
        "preprocessing": "inception",
        "checkpoint_file": "inception_v3.ckpt",
        "size_bytes": None,
        "license": None,
        "citation_arxiv": "1512.00567",
        "source": "the README",
        **changes,
    }


def hub_model(**changes: Any) -> dict[str, Any]:
    return {
        "id": "google/imagenet/mobilenet_v1_100_224/classification/5",
        "kind": "image",
        "task": "image-classification",
        "format": "saved_model_2",
        "architecture": "mobilenet-v1",
        "dataset": ["imagenet-ilsvrc-2012-cls"],
        "language": None,
        "input_size": [224, 224],
        "input_size_fixed": False,
        "value_range": [0, 1],
        "num_features": None,
        "embedding_dim": None,
        "num_classes": 1001,
        "has_background_class": True,
        "labels_url": "https://storage.googleapis.com/download.tensorflow.org/data/ImageNetLabels.txt",
        "license": None,
        "download_url": "https://tfhub.dev/google/m/5?tf-hub-format=compressed",
        "size_bytes": None,
        "arxiv": "1704.04861",
        "source": "the page",
        **changes,
    }


def keras_entry(**changes: Any) -> Entry:
    return keras_entries({"models": [keras_model(**changes)]})[0]


def slim_entry(**changes: Any) -> Entry:
    return slim_entries({"preprocessing": {"source": "the factory"}, "models": [slim_model(**changes)]})[0]


def hub_entry(**changes: Any) -> Entry:
    return tfhub_entries({"models": [hub_model(**changes)]})[0]


def test_a_keras_model_has_both_weight_files_with_the_hashes_that_keras_knows() -> None:
    entry = keras_entry()
    top, notop = entry.files

    assert (entry.name, entry.source, entry.arch, entry.units) == ("vgg16", "keras", "vgg16", 16)
    assert (top.role, top.name, top.urls) == ("weights", "v.h5", (f"{BUCKET}/v.h5",))
    assert (top.hash, top.hash_from) == (f"md5:{'6' * 32}", "publisher")
    assert (notop.role, notop.hash, notop.hash_from, notop.bytes) == ("weights_notop", None, None, None)
    assert entry.metrics == {"imagenet_top1": 71.3, "imagenet_top5": 90.1}
    assert (entry.params, entry.cite, entry.license) == (138_357_544, "arXiv:1409.1556", None)
    assert (entry.origin, entry.sources["metrics"]) == ("keras 3.15.1 wheel", "the table")
    assert (entry.output.classes, entry.output.logits) == (1000, False)  # keras.applications put out softmax


@pytest.mark.parametrize(
    ("mode", "color", "black", "white"),
    [
        ("caffe", "BGR", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),
        ("tf", "RGB", (-1.0,) * 3, (1.0,) * 3),
        ("torch", "RGB", (-2.117904, -2.035714, -1.804444), (2.248908, 2.428571, 2.64)),
        ("in_model", "RGB", (0.0,) * 3, (255.0,) * 3),
    ],
)
def test_keras_preprocessing_modes_as_numbers(mode: str, color: str, black: Any, white: Any) -> None:
    """Black and white pixels as keras.applications.imagenet_utils.preprocess_input makes them."""
    spec = keras_entry(preprocessing={"mode": mode}).input

    assert (spec.size, spec.color) == ((224, 220, 3), color)
    for pixel, expected in ((0, black), (255, white)):
        mean, std = (spec.mean or (0.0,)) * 3, (spec.std or (1.0,)) * 3
        found = [(pixel * spec.scale - mean[channel]) / std[channel] for channel in range(3)]
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_keras_model_without_published_accuracy_has_none() -> None:
    entry = keras_entry(published_accuracy=None)

    assert (entry.metrics, entry.top1) == ({}, None)
    assert "metrics" not in entry.sources


def test_every_architecture_is_one_model_of_keras_under_a_name_of_ours() -> None:
    entries = keras_entries({"models": [keras_model(name=each.function) for each in ARCHITECTURES.values()]})

    assert [entry.name for entry in entries] == list(ARCHITECTURES)
    assert len(entries) == 40


def test_a_slim_checkpoint() -> None:
    entry = slim_entry()
    (file,) = entry.files

    assert (entry.name, entry.arch, entry.units) == ("slim/inception_v3", "inception_v3", 17)
    assert (file.role, file.name, file.member) == ("archive", "inception_v3_2016_08_28.tar.gz", "inception_v3.ckpt")
    assert file.urls[0].startswith("http://")  # as published
    assert (file.hash, file.hash_from, file.reported) == (None, None, None)
    assert (entry.output.classes, entry.output.background, entry.output.logits) == (1001, True, True)
    assert (entry.input.scale, entry.input.mean) == (1 / 127.5, (1.0,))


def test_slim_preprocessing_of_vgg_is_rgb_and_cropped_from_a_shorter_side_of_256() -> None:
    spec = slim_entry(name="vgg_16", preprocessing="vgg").input

    assert (spec.color, spec.scale, spec.mean) == ("RGB", 1.0, (123.68, 116.78, 103.94))
    assert (spec.fit, spec.resize_to, spec.resize) == ("center_crop", 256, None)


@pytest.mark.parametrize("entry", [keras_entry(), slim_entry(), hub_entry()])
def test_how_pictures_were_resized_is_not_published(entry: Entry) -> None:
    assert (entry.input.fit, entry.input.resize) == (None, None)


def test_a_hash_that_others_pinned_is_said_to_be_theirs() -> None:
    entry = slim_entry(third_party_sha256_pin={"sha256": "9" * 64, "source": "nix"})

    assert (entry.files[0].hash, entry.files[0].hash_from) == (f"sha256:{'9' * 64}", "third_party")
    assert entry.sources["files"] == "sha256: nix"


def test_what_slim_does_not_say_stays_unknown() -> None:
    entry = slim_entry(classes=None, label_offset=None, preprocessing=None, top5=None, reported_dead="HTTP 403")

    assert (entry.output.classes, entry.output.labels) == (None, None)
    assert (entry.output.logits, entry.output.background) == (None, None)
    assert (entry.input.scale, entry.input.color) == (None, None)
    assert entry.metrics == {"imagenet_top1": 78.0}
    assert entry.files[0].reported == "HTTP 403"


@pytest.mark.parametrize(
    ("name", "arch", "units"),
    [
        ("vgg_19", "vgg19", 19),
        ("mobilenet_v1_1.0_192", "mobilenet", 28),
        ("mobilenet_v1_0.25_128_2017", "mobilenet_v1_0.25", 28),  # a chain as well, but thinner than Keras' own
        ("resnet_v1_50", "slim_resnet_v1_50", 18),  # strides elsewhere than in Keras: other shapes
        ("inception_v4", "slim_inception_v4", None),
    ],
)
def test_slim_shares_an_architecture_with_keras_only_where_the_shapes_are_the_same(
    name: str, arch: str, units: int | None
) -> None:
    entry = slim_entry(name=name)

    assert (entry.arch, entry.units) == (arch, units)
    assert ("units" in entry.sources) is (units is not None)


def test_a_hub_classifier() -> None:
    entry = hub_entry()
    (file,) = entry.files

    assert entry.name == "tfhub/google/imagenet/mobilenet_v1_100_224/classification/5"
    assert file.name == "google_imagenet_mobilenet_v1_100_224_classification_5.tar.gz"
    assert file.urls == ("https://tfhub.dev/google/m/5?tf-hub-format=compressed",)
    assert "Kaggle" in str(file.reported)
    assert (entry.input.size, entry.input.scale, entry.input.resizable) == ((224, 224, 3), 1 / 255, True)
    assert (entry.output.classes, entry.output.background, entry.output.logits) == (1001, True, None)
    assert (entry.params, entry.units, entry.license) == (None, None, None)


def test_what_the_hub_does_not_say_stays_unknown() -> None:
    entry = hub_entry(
        value_range=None, input_size=None, input_size_fixed=None, has_background_class=None, num_classes=None,
        labels_url=None, arxiv=None,
    )  # fmt: skip

    assert (entry.input.size, entry.input.scale, entry.input.resizable) == ((None, None, 3), None, False)
    assert (entry.output.classes, entry.output.labels, entry.output.background) == (None, None, None)
    assert entry.cite is None


@pytest.mark.parametrize(
    ("changes", "features"),
    [
        ({"task": "image-feature-vector", "num_features": 1024, "num_classes": None}, 1024),
        ({"task": "text-embedding", "kind": "text", "embedding_dim": 50, "num_classes": None}, 50),
    ],
)
def test_hub_models_without_a_classifier_put_out_features(changes: dict[str, Any], features: int) -> None:
    entry = hub_entry(**changes)

    assert entry.task == changes["task"]
    assert (entry.output.classes, entry.output.features) == (None, features)
    assert (entry.input is None) is (changes.get("kind") == "text")


def test_doubts_about_a_hub_page_are_kept() -> None:
    assert hub_entry(doc_suspect="check the shape").sources["output"] == "check the shape"

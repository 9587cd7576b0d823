"""Facts in the form in which they were collected, cut down to what each test is about."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.registry import Entry, OutputSpec
from zoo.registry.facts_caffe_onnx import caffe_entries, onnx_entries

URL = "https://github.com/shicai/MobileNet-Caffe/raw/26a8/mobilenet.caffemodel"
SHA1, SHA256, SHA384 = "1" * 40, "2" * 64, "3" * 96


def caffe_model(**changes: Any) -> dict[str, Any]:
    return {
        "name": "mobilenet_v1",
        "arch": "MobileNet v1 1.0 224",
        "dataset": "ImageNet ILSVRC2012",
        "classes": 1000,
        "caffemodel_url": URL,
        "sha1": None,
        "deploy": "models/m/mobilenet_deploy.prototxt",
        "input": [3, 224, 220],
        "top1": 70.81,
        "top5": None,
        "protocol": "single center crop",
        "licence": "BSD-3-Clause",
        "source": ["the README"],
        "channel_order": "BGR",
        "raw_scale": 255,
        "input_scale": 1.0,
        **changes,
    }


def onnx_model(stem: str = "vgg16-7", **changes: Any) -> dict[str, Any]:
    return {
        "model": "VGG 16",
        "opset": 7,
        "path": f"validated/vision/classification/vgg/model/{stem}.onnx",
        "sha256": SHA256,
        "bytes": 553_437_328,
        "inputs": [{"name": "data", "shape": [1, 3, 224, 224], "type": "tensor(float)"}],
        "outputs": [{"name": "out", "shape": [1, 1000], "type": "tensor(float)"}],
        "tags": ["vision", "classification", "vgg"],
        "published_accuracy": {"top1": 72.62, "top5": 91.14, "source": "its README"},
        "license": {"readme_spdx": "Apache-2.0", "license_section": "Apache 2.0"},
        "url_github_lfs": f"https://media.githubusercontent.com/{stem}.onnx",
        "url_hf_pattern": f"https://huggingface.co/onnxmodelzoo/{stem}.onnx",
        **changes,
    }


def caffe_entry(**changes: Any) -> Entry:
    return caffe_entries({"models": [caffe_model(**changes)]})[0]


def onnx_entry(stem: str = "vgg16-7", **changes: Any) -> Entry:
    return onnx_entries({"source": "onnx/models@b1ee MANIFEST (184)", "models": [onnx_model(stem, **changes)]})[0]


def test_a_caffe_model_has_weights_and_a_definition() -> None:
    entry = caffe_entry(size=5, sha256=SHA256)
    weights, definition = entry.files

    assert (entry.name, entry.arch, entry.units) == ("caffe/mobilenet_v1", "mobilenet", 28)
    assert (weights.role, weights.name, weights.urls, weights.bytes) == ("weights", "mobilenet.caffemodel", (URL,), 5)
    assert (definition.role, definition.name) == ("definition", "mobilenet_deploy.prototxt")
    assert (definition.urls, definition.reported) == ((), "place: models/m/mobilenet_deploy.prototxt")
    assert (entry.metrics, entry.license) == ({"imagenet_top1": 70.81}, "BSD-3-Clause")
    assert entry.sources["metrics"] == "single center crop"


def test_our_mean_is_subtracted_after_the_scale_that_caffe_multiplies_by_last() -> None:
    spec = caffe_entry(mean_bgr=[103.94, 116.78, 123.68], input_scale=0.017).input
    pixel = 200.0

    assert (spec.size, spec.color) == ((224, 220, 3), "BGR")
    for ours, theirs in zip(spec.mean, (103.94, 116.78, 123.68), strict=True):
        assert pixel * spec.scale - ours == pytest.approx((pixel - theirs) * 0.017)


def test_a_gray_caffe_model_scales_and_subtracts_nothing() -> None:
    spec = caffe_entry(
        name="lenet_iter_10000", input=[1, 28, 28], channel_order="grey", mean_bgr=[0], input_scale=0.00390625
    ).input

    assert (spec.size, spec.color, spec.scale, spec.mean) == ((28, 28, 1), "gray", 1 / 256, ())


@pytest.mark.parametrize(
    ("mean", "scale", "values", "file"),
    [
        ({"mean_file": "m.binaryproto (not seen)"}, 1.0, (), "m.binaryproto"),
        ({"mean_file": "m.binaryproto", "mean_bgr_used_by_others": [1, 2, 3]}, 1.0, (), "m.binaryproto"),
        ({"mean_file": "m.binaryproto", "mean_bgr_of_that_file": [1, 2, 3]}, 1.0, (1.0, 2.0, 3.0), None),
        ({}, None, (), None),  # then nobody says how pictures become numbers
        ({"mean_file": "imagenet mean"}, None, (), None),  # words, and no file
        ({"mean_file": "folder/m.binaryproto (computed)"}, 1.0, (), "folder/m.binaryproto"),
    ],
)
def test_a_mean_is_the_publishers_own_or_its_source_is_told(
    mean: dict[str, Any], scale: float | None, values: Any, file: str | None
) -> None:
    entry = caffe_entry(**mean)

    assert (entry.input.scale, entry.input.mean, entry.input.mean_file) == (scale, values, file)
    assert "mean" in entry.sources["input"]
    assert mean.get("mean_file", "") in entry.sources["input"]
    assert ("others use 1, 2, 3" in entry.sources["input"]) is ("mean_bgr_used_by_others" in mean)
    assert ("without numbers or a file" in entry.sources["input"]) is (mean.get("mean_file") == "imagenet mean")


@pytest.mark.parametrize(
    ("published", "fit", "resize_to"),
    [
        ([256, 256], "center_crop", (256, 256)),
        ("shorter side 256 (isotropic)", "center_crop", 256),
        ("256xN", "center_crop", 256),
        (None, None, None),
    ],
)
def test_sizes_before_the_crop(published: Any, fit: str | None, resize_to: Any) -> None:
    spec = caffe_entry(resize=published).input

    assert (spec.fit, spec.resize_to) == (fit, resize_to)
    assert spec.resize is None  # nobody published an interpolation


@pytest.mark.parametrize(
    ("published", "kept", "by"),
    [
        ({"sha1": SHA1, "sha256": SHA256, "sha384": SHA384}, f"sha1:{SHA1}", "publisher"),
        ({"sha1": SHA1}, f"sha1:{SHA1}", "publisher"),  # Caffe's own readme.md files have SHA-1 only
        ({"sha1": None, "sha256": SHA256, "sha384": SHA384}, f"sha256:{SHA256}", "third_party"),
        ({"sha384": SHA384}, f"sha384:{SHA384}", "third_party"),
        ({}, None, None),
    ],
)
def test_the_publishers_own_hash_is_kept_or_else_the_strongest(
    published: dict[str, str | None], kept: str | None, by: str | None
) -> None:
    weights = caffe_entry(**published).files[0]

    assert (weights.hash, weights.hash_from) == (kept, by)


@pytest.mark.parametrize(
    ("published", "theirs"),
    [
        ({"size": 5, "sha1": SHA1, "sha384": SHA384}, "size: "),
        ({"size": 5, "sha256": SHA256}, "size, sha256: "),
        ({"sha256": SHA256}, "sha256: "),
        ({"sha1": SHA1, "sha256": SHA256}, None),
    ],
)
def test_what_others_published_of_a_file_is_said_to_be_theirs(published: dict[str, Any], theirs: str | None) -> None:
    entry = caffe_entry(source=["the README", "openvinotoolkit/model.yml"], **published)

    assert entry.origin == "the README"
    assert entry.sources.get("files") == (theirs and f"{theirs}openvinotoolkit/model.yml")


def test_a_search_that_found_nothing_is_no_source() -> None:
    assert caffe_entry(source=["searched; none"]).origin is None


@pytest.mark.parametrize("output", [caffe_entry().output, onnx_entry().output])
def test_whether_a_class_is_the_background_is_not_published(output: OutputSpec) -> None:
    assert (output.classes, output.background) == (1000, None)


@pytest.mark.parametrize(
    ("source", "deploy", "weights", "url"),
    [
        ("BVLC/caffe models/m/readme.md", "models/m/deploy.prototxt", "http://dl.example/m.caffemodel",
         "https://raw.githubusercontent.com/BVLC/caffe/HEAD/models/m/deploy.prototxt"),
        ("a/b README.md", "m.prototxt", f"https://github.com/a/b/raw/{SHA1}/m.caffemodel",
         f"https://raw.githubusercontent.com/a/b/{SHA1}/m.prototxt"),
        ("a/b README.md", "m.prototxt", f"https://github.com/c/d/raw/{SHA1}/m.caffemodel",
         "https://raw.githubusercontent.com/a/b/HEAD/m.prototxt"),
        ("a/b", "gist ksimonyan/21 (sha256 unknown)", URL,
         "https://gist.githubusercontent.com/ksimonyan/21/raw/mobilenet_v1_deploy.prototxt"),
        ("a/b", "gist someone/21", URL, None),  # who may call the file anything
        ("the README", "m.prototxt", URL, None),
        ("a/b README.md", "m.prototxt", None, None),  # of no use without the weights
        ("a/b README.md", "community prototxts only", URL, None),
    ],
)  # fmt: skip
def test_a_definition_has_the_address_of_its_published_place(
    source: str, deploy: str, weights: str | None, url: str | None
) -> None:
    definition = caffe_entry(source=[source], deploy=deploy, caffemodel_url=weights).files[1]

    assert definition.urls == ((url,) if url else ())


def test_a_hash_in_the_words_on_the_definition_is_found() -> None:
    definition = caffe_entry(deploy=f"gist someone/21 (sha256 {SHA256})").files[1]

    assert (definition.hash, definition.reported) == (f"sha256:{SHA256}", "place: gist someone/21")
    assert definition.name == "mobilenet_v1_deploy.prototxt"


@pytest.mark.parametrize(
    ("published", "reported"),
    [("same OneDrive folder", "place: same OneDrive folder"), (None, "no address is published")],
)
def test_words_are_no_address(published: str | None, reported: str) -> None:
    weights = caffe_entry(caffemodel_url=published).files[0]

    assert (weights.name, weights.urls, weights.reported) == ("mobilenet_v1.caffemodel", (), reported)


def test_figures_on_other_data_than_imagenet_are_shares() -> None:
    entry = caffe_entry(name="cifar10_quick", dataset="CIFAR10", classes=10, top1=75.33)

    assert (entry.metrics, entry.top1, entry.output.labels) == ({"cifar10_top1": 0.7533}, None, None)


def test_an_onnx_model_has_a_hash_and_two_addresses() -> None:
    entry = onnx_entry()
    (file,) = entry.files

    assert (entry.name, entry.arch, entry.units, entry.task) == ("onnx/vgg16-7", "vgg16", 16, "image-classification")
    assert [url.split("/")[2] for url in file.urls] == ["huggingface.co", "media.githubusercontent.com"]
    assert (file.hash, file.hash_from, file.bytes) == (f"sha256:{SHA256}", "publisher", 553_437_328)
    assert "was not checked" in str(file.reported)
    assert "was seen" in str(onnx_entry("mobilenetv2-7").files[0].reported)
    assert (entry.license, entry.origin) == (
        "Apache-2.0",
        "onnx/models@b1ee MANIFEST, validated/vision/classification/vgg/model/vgg16-7.onnx",
    )
    assert (entry.output.classes, entry.output.labels, entry.output.logits) == (1000, "imagenet1k", None)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (["N", 3, 224, 220], (224, 220, 3)),
        ([1, 224, 220, 3], (224, 220, 3)),
        ([3, "height", "width"], (None, None, 3)),
        (["unk_1", "unk_2", "unk_3", 3], (None, None, 3)),
        (["batch", 1, 28, 28], (28, 28, 1)),
        ([1, 512], None),
        ([], None),
    ],
)
def test_pictures_are_found_by_their_channels(shape: list[Any], size: Any) -> None:
    spec = onnx_entry("some-1", inputs=[{"shape": shape}]).input

    assert (spec and spec.size) == size
    assert spec is None or (spec.scale, spec.color) == (None, None)


def test_an_onnx_model_without_published_ports_has_no_input() -> None:
    entry = onnx_entry("bvlcalexnet-3", inputs=None, outputs=None)

    assert (entry.input, entry.output.classes, entry.units) == (None, None, 8)


@pytest.mark.parametrize(
    ("stem", "white"),
    [
        ("resnet50-v1-12-int8", (1 - 0.485) / 0.229),
        ("squeezenet1.0-9", (1 - 0.485) / 0.229),
        ("efficientnet-lite4-11", (255 - 127) / 128),
        ("resnet50-caffe2-v1-9", None),  # its README has code, no numbers
        ("shufflenet-9", None),
    ],
)
def test_preprocessing_is_that_of_the_readme_or_unknown(stem: str, white: float | None) -> None:
    spec = onnx_entry(stem).input

    assert (spec.scale is None) is (white is None)
    if white is not None:
        assert (255 * spec.scale - spec.mean[0]) / spec.std[0] == pytest.approx(white)


@pytest.mark.parametrize(
    ("stem", "arch", "units"),
    [
        ("vgg19-caffe2-9", "vgg19", 19),
        ("vgg16-bn-7", "vgg16-bn", 16),
        ("resnet18-v1-7", "resnet18", 10),  # stem, 8 blocks, classifier
        ("resnet152-v1-7", "resnet152", 52),
        ("vgg16-12-int8", None, None),  # quantized: other layers
        ("resnet50-v2-7", None, None),
        ("mobilenetv2-7", None, None),
    ],
)
def test_units_are_given_where_the_net_is_certain(stem: str, arch: str | None, units: int | None) -> None:
    entry = onnx_entry(stem)

    assert (entry.arch, entry.units) == (arch, units)


def test_errors_stay_errors_and_give_the_accuracy() -> None:
    entry = onnx_entry("shufflenet-v2-10", published_accuracy={"top1_error": 30.64, "source": "its README"})

    assert (entry.metrics, entry.top1) == ({"imagenet_top1_error": 30.64}, 69.36)


@pytest.mark.parametrize(
    ("tags", "task", "classes"),
    [
        (["vision", "object detection segmentation", "ssd"], "object-detection-segmentation", None),
        (["vision", "classification", "resnet", "preprocessing"], "preprocessing", None),
        (["vision", "classification", "mnist"], "image-classification", 1000),
    ],
)
def test_tasks_come_from_the_tags(tags: list[str], task: str, classes: int | None) -> None:
    entry = onnx_entry("some-1", tags=tags, outputs=[{"shape": [1, 1000, 1, 1]}])

    assert (entry.task, entry.output.classes) == (task, classes)

from __future__ import annotations

import json
from typing import Any

import pytest

from zoo.errors import IntegrityError
from zoo.registry import Entry, Figures, InputSpec, RecordedOutput
from zoo.registry.entry import parse_entry

SHA256 = "sha256:" + "0123456789abcdef" * 4


def record() -> dict[str, Any]:
    """A whole entry, every field set."""
    return {
        "source": "keras",
        "arch": "vgg16",
        "task": "image-classification",
        "summary": "A net.",
        "files": [
            {
                "role": "weights",
                "name": "vgg16.h5",
                "urls": ["https://a/vgg16.h5", "https://b/vgg16.h5"],
                "hash": SHA256,
                "hash_from": "publisher",
                "bytes": 5,
                "member": "x/y.h5",
                "reported": "HTTP 403",
            }
        ],
        "input": {
            "size": [224, 220, 3],
            "resizable": True,
            "color": "BGR",
            "scale": 2,
            "mean": [1, 2.5, 3],
            "std": [4.0],
            "resize": "bicubic",
            "fit": "center_crop",
            "resize_to": [256, 250],
            "mean_file": "mean.npy",
        },
        "output": {"classes": 1000, "labels": "imagenet1k", "logits": True, "background": True, "features": 7},
        "metrics": {"imagenet_top1": 71},
        "params": 138_357_544,
        "units": 16,
        "license": "MIT",
        "cite": "A paper",
        "from": "its page",
        "sources": {"metrics": "a table"},
        "recorded": {
            "input": [1, 224, 220, 3],
            "dtype": "float32",
            "seed": 7,
            "low": -2.5,
            "high": 3,
            "shape": [1, 3],
            "output": {"values": [0.25, 0.5, 0.25], "mean": 0.25, "rms": 0.5, "spread": 0.125, "sums": [1, -2, 0.5]},
            "logits": {"values": [2, 3, 2.5], "mean": 2.5, "rms": 2.75, "spread": 0.5, "sums": [3, 0, -1.5]},
        },
        "lacks": ["block1_conv2"],
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """The whole entry with the field at `path` (`input.size`, `files.0.role`) set to `value`."""
    whole = record()
    target: Any = whole
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in parents:
        target = target[key]
    target[last] = value
    return whole


def test_every_field_is_read() -> None:
    entry = parse_entry("vgg16", record())

    assert entry.name == "vgg16"
    assert (entry.source, entry.arch, entry.task, entry.summary) == (
        "keras",
        "vgg16",
        "image-classification",
        "A net.",
    )
    assert (entry.params, entry.units, entry.license, entry.cite, entry.origin) == (
        138_357_544,
        16,
        "MIT",
        "A paper",
        "its page",
    )
    assert entry.metrics == {"imagenet_top1": 71.0}
    file = entry.files[0]
    assert (file.role, file.name, file.urls) == (
        "weights",
        "vgg16.h5",
        ("https://a/vgg16.h5", "https://b/vgg16.h5"),
    )
    assert (file.hash, file.hash_from, file.bytes, file.member) == (SHA256, "publisher", 5, "x/y.h5")
    spec = entry.input
    assert (spec.size, spec.resizable, spec.color, spec.scale) == ((224, 220, 3), True, "BGR", 2.0)
    assert (spec.mean, spec.std) == ((1.0, 2.5, 3.0), (4.0,))
    assert (spec.resize, spec.fit, spec.resize_to, spec.mean_file) == (
        "bicubic",
        "center_crop",
        (256, 250),
        "mean.npy",
    )
    output = entry.output
    assert (output.classes, output.labels, output.logits, output.background, output.features) == (
        1000,
        "imagenet1k",
        True,
        True,
        7,
    )
    assert (file.reported, entry.sources) == ("HTTP 403", {"metrics": "a table"})
    output = Figures((0.25, 0.5, 0.25), 0.25, 0.5, 0.125, (1.0, -2.0, 0.5))
    logits = Figures((2.0, 3.0, 2.5), 2.5, 2.75, 0.5, (3.0, 0.0, -1.5))
    assert entry.recorded == RecordedOutput((1, 224, 220, 3), "float32", 7, -2.5, 3.0, (1, 3), output, logits)
    assert entry.lacks == ("block1_conv2",)


def test_an_entry_survives_a_trip_through_json() -> None:
    entry = parse_entry("vgg16", record())

    spelled = json.loads(json.dumps(entry.to_json()))

    assert spelled.pop("name") == "vgg16"
    assert set(spelled) == set(record())
    assert parse_entry("vgg16", spelled) == entry


def test_what_an_entry_leaves_out_has_the_plain_meaning() -> None:
    least = {
        "source": "local",
        "task": "t",
        "summary": "s",
        "files": [],
        "input": {"size": [None, None, 3]},
        "output": {},
        "metrics": {},
    }

    entry = parse_entry("own", least)

    assert isinstance(entry, Entry)
    assert (entry.input.color, entry.input.scale, entry.input.mean, entry.input.std) == ("RGB", 1.0, (), ())
    assert entry.input.size == (None, None, 3)
    assert (entry.input.resize, entry.input.fit, entry.input.resize_to) == (None, None, None)  # nobody said
    assert (entry.arch, entry.params, entry.license, entry.origin) == (None, None, None, None)


@pytest.mark.parametrize(
    ("path", "unknown"),
    [
        ("input", "input"),
        ("input.scale", "scale"),
        ("input.color", "color"),
        ("input.resize", "resize"),
        ("input.fit", "fit"),
        ("input.resize_to", "resize_to"),
        ("output.logits", "logits"),
        ("output.background", "background"),
        ("output.classes", "classes"),
        ("recorded", "recorded"),
    ],
)
def test_what_is_not_published_is_null_and_stays_none(path: str, unknown: str) -> None:
    entry = parse_entry("vgg16", changed(path, None))

    owner = {"input": entry.input, "output": entry.output}[path.split(".")[0]] if "." in path else entry
    assert getattr(owner, unknown) is None
    spelled = json.loads(json.dumps(entry.to_json()))
    del spelled["name"]
    assert parse_entry("vgg16", spelled) == entry


def test_what_is_applied_is_what_was_published_or_zoos_own_choice() -> None:
    silent = InputSpec((8, 8, 3), scale=0.5)
    stated = InputSpec((8, 8, 3), resize="bicubic", fit="center_crop", resize_to=9)

    assert silent.applied() == InputSpec((8, 8, 3), scale=0.5, resize="bilinear", fit="stretch")
    assert stated.applied() == stated


@pytest.mark.parametrize(
    ("metrics", "top1"),
    [
        ({"imagenet_top1": 71.3, "imagenet_top1_error": 1}, 71.3),
        ({"imagenet_top1_error": 30.64}, 69.36),
        ({"letters_top1": 0.9}, None),
        ({}, None),
    ],
)
def test_top1_is_published_or_follows_from_the_error(metrics: dict[str, float], top1: float | None) -> None:
    assert parse_entry("vgg16", changed("metrics", metrics)).top1 == top1


@pytest.mark.parametrize(
    ("sizes", "total"),
    [
        ([("weights", 5), ("definition", 2)], 7),
        ([("weights", 5), ("weights_notop", 3)], 5),  # the same weights again, without the classifier
        ([("weights", 5), ("weights_notop", None)], 5),
        ([("weights_notop", 3)], 3),  # there is nothing else
        ([("weights", 5), ("definition", None)], None),
        ([], None),
    ],
)
def test_the_size_is_that_of_all_files_but_headless_weights(sizes: list[Any], total: int | None) -> None:
    files = [{"role": role, "name": role, "bytes": size} for role, size in sizes]

    assert parse_entry("vgg16", changed("files", files)).bytes == total


@pytest.mark.parametrize(
    ("source", "arch", "urls", "can"),
    [
        ("embedded", None, [], ("pull", "load")),
        ("keras", "vgg16", ["https://a/vgg16.h5"], ("pull", "load")),
        ("keras", "vgg61", ["https://a/vgg16.h5"], ("pull",)),
        ("keras", "vgg16", [], ()),  # nobody can have it
        ("slim", "vgg16", ["https://a/vgg16.h5"], ("pull",)),
        ("caffe", "vgg16", [], ()),
    ],
)
def test_can_tells_what_this_version_does_and_no_more(
    source: str, arch: str | None, urls: list[str], can: tuple[str, ...]
) -> None:
    whole = changed("files.0.urls", urls) | {"source": source, "arch": arch}

    assert parse_entry("vgg16", whole).can == can


@pytest.mark.parametrize(
    ("role", "name", "arch", "can"),
    [
        ("model", "net.keras", None, ("load",)),
        ("model", "net.h5", None, ("load",)),
        ("model", "net.HDF5", None, ("load",)),
        ("model", "net.onnx", None, ("load",)),
        ("model", "net-3.onnx", None, ("load",)),  # a name of the user's own tells nothing
        ("model", "net.pb", None, ()),
        ("weights", "net.weights.h5", "vgg16", ("load",)),
        ("weights_notop", "net.h5", "vgg16", ("load",)),
        ("weights", "net.h5", None, ()),
        ("weights", "net.npz", "vgg16", ()),
        ("weights", "net.caffemodel", "vgg16", ()),
        ("archive", "net.tar", "vgg16", ()),
    ],
)
def test_what_was_added_here_is_loaded_or_only_kept(
    role: str, name: str, arch: str | None, can: tuple[str, ...]
) -> None:
    files = [{"role": role, "name": name, "hash": SHA256, "hash_from": "user", "bytes": 5}]

    assert parse_entry("net", changed("files", files) | {"source": "local", "arch": arch}).can == can


@pytest.mark.parametrize(
    ("source", "roles", "urls", "can"),
    [
        ("caffe", ["definition", "weights"], [["https://a/n.prototxt"], ["https://a/n.caffemodel"]], ("pull", "load")),
        ("caffe", ["definition", "weights"], [[], ["https://a/n.caffemodel"]], ("pull",)),
        ("caffe", ["weights"], [["https://a/n.caffemodel"]], ("pull",)),
        ("local", ["definition", "weights"], [[], []], ("load",)),
        ("local", ["weights"], [[]], ()),
    ],
)
def test_a_caffe_net_is_loaded_where_both_of_its_files_can_be_had(
    source: str, roles: list[str], urls: list[list[str]], can: tuple[str, ...]
) -> None:
    files = [
        {"role": role, "name": role, "urls": each, "hash": SHA256, "hash_from": "user"}
        for role, each in zip(roles, urls, strict=True)
    ]

    assert parse_entry("net", changed("files", files) | {"source": source, "arch": "vgg16"}).can == can


@pytest.mark.parametrize("field", ["source", "task", "summary", "files", "input", "output", "metrics"])
def test_a_missing_field_is_named(field: str) -> None:
    broken = record()
    del broken[field]

    with pytest.raises(IntegrityError, match=f"model 'vgg16' has no '{field}'"):
        parse_entry("vgg16", broken)


@pytest.mark.parametrize(
    "path", ["new", "files.0.new", "input.new", "output.new", "recorded.new", "recorded.logits.new"]
)
def test_an_unknown_field_is_refused_at_every_level(path: str) -> None:
    with pytest.raises(IntegrityError, match=r"model 'vgg16' has unknown fields: new"):
        parse_entry("vgg16", changed(path, 1))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source", "torchhub"),
        ("source", None),
        ("arch", 16),
        ("summary", None),
        ("files", {}),
        ("files.0", "vgg16.h5"),
        ("files.0.role", "checkpoint"),
        ("files.0.urls", "https://a"),
        ("files.0.urls", [1]),
        ("files.0.bytes", "5"),
        ("files.0.bytes", True),
        ("files.0.hash", "sha256:abc"),  # too short
        ("files.0.hash", "sha512:" + "0" * 128),  # a kind that nobody publishes
        ("files.0.hash", "md5:" + "G" * 32),  # no hex digit
        ("files.0.hash_from", "hearsay"),
        ("files.0.hash_from", None),  # then nobody says whose word it is
        ("files.0.bytes", 2**63),
        ("files.0.name", "a\ud800"),
        ("files.0.member", "a/\udc80"),
        ("input", []),
        ("input.size", [224, 224]),
        ("input.size", [224, 224, 0]),
        ("input.size", [224, 224, None]),  # channels decide the colour
        ("input.size", [224, 224.0, 3]),
        ("input.size", [True, 224, 3]),
        ("input.size", [2**63, 224, 3]),
        ("input.resize_to", 10**400),
        ("input.resize_to", [2**63, 5]),
        ("input.scale", 10**400),
        ("input.scale", -(2**63)),
        ("input.mean", [10**400]),
        ("input.resizable", 1),
        ("input.color", "rgb"),
        ("input.scale", "1"),
        ("input.scale", True),
        ("input.scale", float("nan")),
        ("input.mean", [1, 2]),  # for 3 channels
        ("input.mean", ["a", "b", "c"]),
        ("input.mean", [None]),
        ("input.std", [float("inf")]),
        ("input.std", [1, 0, 1]),  # a division by 0
        ("input.resize", "fast"),
        ("input.fit", "pad"),
        ("input.resize_to", [256]),
        ("input.resize_to", [256, None]),
        ("output.classes", 10.5),
        ("metrics", [71.3]),
        ("metrics.imagenet_top1", "71.3"),
        ("metrics.imagenet_top1", None),
        ("metrics.imagenet_top1", 10**400),
        ("params", "138M"),
        ("params", 2**63),
        ("units", 10**400),
        ("summary", "a \ud800"),
        ("sources", {"metrics": "a \ud800"}),
        ("lacks", "block1_conv2"),
        ("lacks", [1]),
        ("lacks", ["a \ud800"]),
        ("recorded", []),
        ("recorded.input", []),
        ("recorded.input", [1, None]),
        ("recorded.input", [1] * 9),
        ("recorded.input", [2**40, 2**40]),  # more elements than can be counted
        ("recorded.dtype", "object"),
        ("recorded.seed", -1),
        ("recorded.seed", 2**32),  # NumPy takes no more
        ("recorded.seed", 1.0),
        ("recorded.low", 4),  # above high
        ("recorded.low", None),
        ("recorded.high", float("inf")),
        ("recorded.shape", [1, True]),
        ("recorded.shape", [1, 4]),  # of which there would be 4 values
        ("recorded.output", None),
        ("recorded.output.values", [0.25, 0.5, float("nan")]),
        ("recorded.output.values", [0.25] * 65),
        ("recorded.output.sums", [1, -2]),
        ("recorded.output.mean", 10**400),
        ("recorded.output.rms", -0.5),
        ("recorded.output.spread", -0.5),
        ("recorded.logits.rms", "0.5"),
        ("recorded.logits.values", [2, 3]),
    ],
)
def test_a_wrong_value_is_refused_and_named(path: str, value: Any) -> None:
    named = [part for part in path.split(".") if not part.isdigit()][-1]

    with pytest.raises(IntegrityError, match="vgg16") as caught:
        parse_entry("vgg16", changed(path, value))

    assert named.removesuffix("s") in str(caught.value)  # "files" as a whole, or "a file"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://[bad/", "Invalid IPv6 URL"),
        ("https://a:port/", "Port"),
        ("https://a:99999/", "Port"),
        ("https:///vgg16.h5", "no host"),
        ("https://user@/vgg16.h5", "no host"),
        ("vgg16.h5", "no host"),
        ("", "no host"),
        ("https://a/\r\nHost: b", "cannot be printed"),
        ("https://a/\x1b[2J", "cannot be printed"),
        ("https://a\u202e/", "cannot be printed"),
        ("https://a/\ud800", "surrogate"),
    ],
)
def test_an_address_where_nothing_can_be_is_refused(url: str, fault: str) -> None:
    with pytest.raises(IntegrityError, match=fault) as caught:
        parse_entry("vgg16", changed("files.0.urls", ["https://a/good.h5", url]))

    assert "vgg16" in str(caught.value)
    assert "urls" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url", ["https://a/vgg 16.h5?x=1&y=%20#z", "http://[::1]:8000/a", "https://bücher.example/modèle.h5"]
)
def test_unusual_addresses_are_taken(url: str) -> None:
    assert parse_entry("vgg16", changed("files.0.urls", [url])).files[0].urls == (url,)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (("weights", "a.h5"), ("weights", "b.h5"), "same role: 'a.h5' (weights) and 'b.h5' (weights)"),
        (("weights", "a.h5"), ("model", "a.h5"), "same name: 'a.h5' (weights) and 'a.h5' (model)"),
        (("weights", "a.h5"), ("model", "A.H5"), "same name: 'a.h5' (weights) and 'A.H5' (model)"),
    ],
)
def test_files_that_would_be_taken_for_each_other_are_refused(one: Any, other: Any, words: str) -> None:
    files = [{"role": role, "name": name} for role, name in (one, ("archive", "c.tgz"), other)]

    with pytest.raises(IntegrityError, match="'vgg16' has two files") as caught:
        parse_entry("vgg16", changed("files", files))

    assert words in str(caught.value)


@pytest.mark.parametrize("path", ["metrics", "sources", "output"])
@pytest.mark.parametrize("name", ["\ud800", "\x1b[2J"])
def test_a_name_of_a_field_that_cannot_be_printed_is_refused(path: str, name: str) -> None:
    with pytest.raises(IntegrityError, match="print") as caught:
        parse_entry("vgg16", changed(path, {name: "1"}))

    assert str(caught.value).isprintable()


def test_numbers_up_to_what_64_bits_hold_are_taken() -> None:
    assert parse_entry("vgg16", changed("files.0.bytes", 2**63 - 1)).bytes == 2**63 - 1


@pytest.mark.parametrize("entry", [None, [], "vgg16", 1])
def test_an_entry_that_is_no_object_is_refused(entry: Any) -> None:
    with pytest.raises(IntegrityError, match=r"model 'vgg16' is .*expected a JSON object"):
        parse_entry("vgg16", entry)


@pytest.mark.parametrize(("kind", "digits"), [("sha256", 64), ("sha384", 96), ("sha1", 40), ("md5", 32)])
def test_the_hashes_that_publishers_use_are_taken(kind: str, digits: int) -> None:
    published = f"{kind}:{'a' * digits}"

    assert parse_entry("vgg16", changed("files.0.hash", published)).files[0].hash == published


def test_a_hash_that_nobody_published_is_null() -> None:
    assert parse_entry("vgg16", changed("files.0.hash", None)).files[0].hash is None

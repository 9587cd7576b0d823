"""Reusing nets of keras.applications: what a cut needs is fetched from a mirror of published files, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from loopback import Web
from published import KERAS_2_WARNS, PUBLISHED, mirror_of, mirrored, shipped, weight_file
from zoo.cli.main import cli

import zoo
from zoo.registry.architectures import ARCHITECTURES

pytestmark = KERAS_2_WARNS


@pytest.mark.parametrize(
    ("arch", "reuse", "parts"),
    [
        ("vgg16", "13", ["weights_notop"]),
        pytest.param("resnet50", "all", ["weights_notop"], marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", "all", ["weights_notop"], marks=pytest.mark.slow),
        pytest.param("efficientnetb0", "all", ["weights_notop"], marks=pytest.mark.slow),
        pytest.param("inception_v3", "all", ["weights_notop"], marks=pytest.mark.slow),
        pytest.param("densenet121", "all", ["weights_notop"], marks=pytest.mark.slow),
        # Its headless file lacks the normalization behind the pooling.
        pytest.param("convnext_tiny", "all", ["weights"], marks=pytest.mark.slow),
        pytest.param("convnext_tiny", "4", ["weights_notop"], marks=pytest.mark.slow),
        pytest.param("mobilenet_v3_small", "20", ["weights_notop"], marks=pytest.mark.slow),
    ],
)
def test_a_transfer_fetches_only_what_it_needs_and_its_features_are_kept(
    arch: str, reuse: str, parts: list[str], home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_MIRROR", mirrored(home, web, arch, parts, side=96))
    x = np.random.default_rng(0).integers(0, 256, (15, 20, 20, 3), np.uint8)
    y = np.repeat(["red", "green", "blue"], 5)

    run = zoo.transfer(arch, (x, y), reuse=reuse, epochs=1)

    assert [place.role for place in zoo.locate(arch)] == parts
    assert run.record["features"]["misses"] == sum(run.record["examples"].values())
    assert len(run.record["units"]) == ARCHITECTURES[arch].units
    assert run.record["input"]["preprocessing"]["mean"] == list(shipped(arch).input.mean)
    assert zoo.plan(arch, (x, y), reuse=reuse).cached == sum(run.record["examples"].values())
    plain = keras.models.load_model(run.path / "model.keras", compile=False)  # needs nothing of zoo
    found = np.asarray(plain(x[:2].astype("float32"), training=False))
    np.testing.assert_allclose(found, [each.probabilities for each in run.predict(x[:2])], atol=1e-5)


@pytest.mark.slow
def test_features_do_not_depend_on_which_file_they_came_from(
    home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published headless file has the same lower layers: so has this one."""
    monkeypatch.setenv("ZOO_MIRROR", mirrored(home, web, "mobilenet_v2", ["weights"], side=96))
    x = np.random.default_rng(0).integers(0, 256, (12, 20, 20, 3), np.uint8)
    y = np.repeat([0, 1], 6)
    whole = zoo.transfer("mobilenet_v2", (x, y), epochs=1)
    zoo.remove("mobilenet_v2")
    headless = copy_without_top(home, web)

    second = zoo.transfer("mobilenet_v2", (x, y), epochs=1)

    assert [place.role for place in zoo.locate("mobilenet_v2")] == ["weights_notop"]
    assert headless.exists()
    assert second.record["features"]["misses"] == 0
    assert second.record["metrics"] == whole.record["metrics"]


def copy_without_top(home: Path, web: Web) -> Path:
    """Publishes the whole file's lower layers as the headless file of MobileNetV2."""
    import dataclasses
    import hashlib

    import tf_keras

    net = tf_keras.applications.MobileNetV2(weights=None)
    net.load_weights(weight_file("mobilenet_v2"))
    lower = tf_keras.Model(net.input, net.get_layer("out_relu").output)
    path = home / "headless.h5"
    lower.save_weights(path)
    file = next(file for file in shipped("mobilenet_v2").files if file.role == "weights_notop")
    web.put("/" + file.urls[0].removeprefix(PUBLISHED), path.read_bytes())
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    document = json.loads((home / "registry.json").read_text())
    record = dataclasses.asdict(dataclasses.replace(file, hash=digest, hash_from="publisher", bytes=None))
    document["models"]["mobilenet_v2"]["files"].append(record)
    (home / "registry.json").write_text(json.dumps(document))
    return path


def test_a_cut_that_cannot_be_is_refused_before_anything_is_fetched(
    home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_MIRROR", mirror_of(web))

    result = CliRunner().invoke(cli, ["transfer", "vgg16", "--reuse", "16"])

    assert result.exit_code == 2
    assert "0 to 15" in result.stderr
    assert web.seen == []
    assert not home.exists()


def test_a_plan_fetches_nothing_and_says_what_would_come(home: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MIRROR", mirror_of(web))

    plan = zoo.plan("resnet50", "digits", freeze=10)

    assert plan.fetch == ("resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",)
    assert (plan.units, plan.reuse, plan.freeze, plan.cached) == (18, 17, 10, None)
    assert plan.parameters["new"] == 2048 * 10 + 10
    assert plan.parameters["frozen"] + plan.parameters["trained"] == 25_636_712 - (2048 * 1000 + 1000)
    assert web.seen == []
    assert not home.exists()


def test_what_is_here_is_not_fetched_once_more(home: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """The headless file would do, and is smaller; the whole one is here."""
    mirror = mirrored(home, web, "mobilenet_v3_small", ["weights", "weights_notop"])
    monkeypatch.setenv("ZOO_MIRROR", mirror)
    zoo.pull("mobilenet_v3_small")

    assert zoo.plan("mobilenet_v3_small", "digits", reuse="20").fetch == ()


def test_layers_of_a_net_that_is_not_here_are_shown_without_fetching(
    home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_MIRROR", mirror_of(web))

    result = CliRunner().invoke(cli, ["layers", "resnet50", "--json"])

    assert len(json.loads(result.stdout)) == 18
    assert web.seen == []

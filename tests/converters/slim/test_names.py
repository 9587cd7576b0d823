"""Which nets of TF-Slim are known, and that the registry's entries are found."""

from __future__ import annotations

import subprocess
import sys

import keras
import pytest
from zoo.converters.slim.families import SLIM_NETS, find_slim, loadable_slim, recognise_slim
from zoo.converters.slim.names import slim_known
from zoo.converters.slim.nets import build_slim

from zoo.errors import UsageError
from zoo.loading.building import without_memory
from zoo.registry.index import read_registry, shipped_registry
from zoo.surgery import split_units

UNITS = {"vgg_16": 16, "vgg_19": 19, "resnet_v1_50": 18, "resnet_v1_101": 35, "resnet_v1_152": 52}
UNITS |= {"inception_v1": 13, "inception_v3": 17, "mobilenet_v1": 28}
# Counted by TF-Slim itself, without AuxLogits, and gamma where there is none: 230, 388, ... variables.
VARIABLES = {"vgg_16": 32, "vgg_19": 38, "resnet_v1_50": 267, "inception_v1": 230, "mobilenet_v1": 137}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.endswith(("101", "152"))) for name in sorted(SLIM_NETS)]
)
def test_every_variable_of_a_net_has_a_name_and_its_units_are_those_of_the_registry(name: str) -> None:
    net = SLIM_NETS[name]
    model = without_memory(lambda: build_slim(net, 1001))
    known = slim_known(net, model)
    assert set(known.names.values()) >= {weight.path for weight in model.weights}
    assert set(known.layouts) <= {weight.path for weight in model.weights}
    wanted = {source for source, target in known.names.items() if target in {each.path for each in model.weights}}
    assert len(wanted) == VARIABLES.get(name, len(model.weights))
    assert len(split_units(model)) == UNITS[name]
    assert model.output_shape == (None, 1001)
    assert recognise_slim(wanted) == net


def test_entries_of_the_registry_are_loadable_where_their_net_is_known() -> None:
    entries = [entry for entry in read_registry(shipped_registry()).values() if entry.source == "slim"]
    loadable = {entry.name for entry in entries if loadable_slim(entry)}
    assert len(loadable) == 26
    assert loadable == {entry.name for entry in entries if "load" in entry.can}
    assert {f"slim/{name}" for name in SLIM_NETS if name != "mobilenet_v1"} < loadable
    assert not any("v2" in name or "v4" in name for name in loadable)
    for entry in entries:
        if entry.name in loadable:
            net = find_slim(entry.name)
            assert net is not None and entry.input is not None
            assert net.size == entry.input.size[0], entry.name
            assert UNITS[net.name] == entry.units
    keras_entry = next(entry for entry in read_registry(shipped_registry()).values() if entry.name == "vgg16")
    assert not loadable_slim(keras_entry)


@pytest.mark.parametrize(
    ("name", "net", "alpha"),
    [
        ("slim/vgg_16", "vgg_16", 1.0),
        ("vgg16", "vgg_16", 1.0),
        ("slim_resnet_v1_152", "resnet_v1_152", 1.0),
        ("slim/mobilenet_v1_0.50_160_2017", "mobilenet_v1", 0.5),
        ("mobilenet_v1_0.25", "mobilenet_v1", 0.25),
        ("mobilenet", "mobilenet_v1", None),
        ("resnet50", None, None),
        ("slim/inception_v2", None, None),
        ("mobilenet_v2_1.0_224", None, None),
        (None, None, None),
    ],
)
def test_names_tell_the_net(name: str | None, net: str | None, alpha: float | None) -> None:
    found = find_slim(name)
    assert (found and found.name) == net
    assert found is None or found.alpha == alpha


def test_a_list_of_models_can_ask_without_tensorflow() -> None:
    code = "import sys, zoo.converters.slim.families; assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sizes_that_the_net_cannot_have_are_refused() -> None:
    with pytest.raises(UsageError, match="takes pictures of 224x224"):
        build_slim(SLIM_NETS["vgg_16"], 10, (64, 64, 3))
    with pytest.raises(UsageError, match="inception_v3 cannot be built for pictures of 20x20x3"):
        build_slim(SLIM_NETS["inception_v3"], 10, (20, 20, 3))
    assert isinstance(without_memory(lambda: build_slim(SLIM_NETS["resnet_v1_50"], 10, (None, None, 3))), keras.Model)

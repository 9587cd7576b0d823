from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import pytest

import zoo.embedded
from zoo.errors import DiskError, IntegrityError, NotFoundError, UsageError
from zoo.files import sha256_of
from zoo.names import folded
from zoo.registry import all_entries, find_entry, find_loadable, list_models
from zoo.registry.architectures import ARCHITECTURES
from zoo.registry.index import SCHEMA, read_registry, shipped_registry

EMBEDDED = Path(zoo.embedded.__path__[0])


def entry(summary: str = "mine") -> dict[str, Any]:
    return {
        "source": "local",
        "task": "image-classification",
        "summary": summary,
        "files": [],
        "input": {"size": [8, 8, 1], "color": "gray"},
        "output": {},
        "metrics": {},
    }


def write_own(home: Path, models: Any, schema: Any = SCHEMA) -> Path:
    home.mkdir()
    path = home / "registry.json"
    path.write_text(json.dumps({"schema": schema, "models": models}), encoding="utf-8")
    return path


def test_the_shipped_registry_is_valid_and_has_the_default_model() -> None:
    assert "letters-cnn" in read_registry(shipped_registry())


def test_the_shipped_registry_names_no_model_twice() -> None:
    def count(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, number in Counter(key for key, _ in pairs).items() if number > 1]
        assert not twice
        return dict(pairs)

    json.loads(shipped_registry().read_text(encoding="utf-8"), object_pairs_hook=count)
    names = list(read_registry(shipped_registry()))
    assert len({folded(name) for name in names}) == len(names)


def test_the_shipped_registry_has_all_that_was_published() -> None:
    sources = Counter(entry.source for entry in read_registry(shipped_registry()).values())

    assert sources == {"embedded": 1, "keras": 40, "slim": 60, "tfhub": 83, "caffe": 23, "onnx": 168}


def test_names_in_the_shipped_registry_begin_with_their_source_but_for_what_keras_knows() -> None:
    for name, model in read_registry(shipped_registry()).items():
        assert name.startswith(f"{model.source}/") is (model.source not in ("embedded", "keras")), name


def test_an_architecture_that_keras_can_build_has_as_many_units_in_every_entry() -> None:
    shared = [model for model in read_registry(shipped_registry()).values() if model.arch in ARCHITECTURES]

    assert {model.source for model in shared} == {"keras", "slim", "caffe", "onnx"}
    for model in shared:
        assert model.units == ARCHITECTURES[str(model.arch)].units, model.name
    assert [model.name for model in shared if model.source == "keras"] == list(ARCHITECTURES)


def test_facts_in_the_shipped_registry_say_where_they_are_from() -> None:
    for name, model in read_registry(shipped_registry()).items():
        assert model.origin or name == "caffe/zfnet", name  # for which nobody found a publisher
        assert model.units is None or model.source == "embedded" or "units" in model.sources, name
        for file in model.files:
            assert (file.hash is None) is (file.hash_from is None), name
            assert file.urls or file.reported or model.source == "embedded", name


def test_the_publishers_own_hash_stands_in_the_shipped_registry_where_there_is_one() -> None:
    hashes = {name: find_entry(f"caffe/{name}").files[0] for name in ("caffenet", "alexnet", "googlenet", "vgg16")}

    assert {name: (str(file.hash).split(":")[0], file.hash_from) for name, file in hashes.items()} == {
        "caffenet": ("sha1", "publisher"),
        "alexnet": ("sha1", "publisher"),
        "googlenet": ("sha1", "publisher"),
        "vgg16": ("sha256", "third_party"),
    }


def test_only_what_is_embedded_has_an_interpolation_that_somebody_stated() -> None:
    specs = {name: model.input for name, model in read_registry(shipped_registry()).items() if model.input}

    assert [name for name, spec in specs.items() if spec.resize] == ["letters-cnn"]
    assert [name for name, spec in specs.items() if spec.fit == "stretch"] == ["letters-cnn"]
    assert all((spec.fit == "center_crop") is (spec.resize_to is not None) for spec in specs.values())
    assert all(str(spec.mean_file).endswith(".binaryproto") for spec in specs.values() if spec.mean_file)


def test_embedded_files_are_those_that_the_registry_describes() -> None:
    files = [file for model in list_models() if model.source == "embedded" for file in model.files]

    assert files
    for file in files:
        path = EMBEDDED / file.name
        assert (f"sha256:{sha256_of(path)}", path.stat().st_size) == (file.hash, file.bytes)
    assert {file.name for file in files} == {path.name for path in EMBEDDED.glob("*.keras")}


def test_facts_of_an_embedded_model_are_those_of_its_file() -> None:
    for described in (model for model in list_models() if model.source == "embedded"):
        model = keras.saving.load_model(EMBEDDED / described.files[0].name, compile=False)

        assert described.params == model.count_params()
        assert described.input.size == model.input_shape[1:]
        assert described.output.classes == model.output_shape[1]
        assert all(0 < value <= 1 for value in described.metrics.values())


def test_without_a_registry_of_the_users_own_there_is_the_shipped_one(home: Path) -> None:
    assert not home.exists()
    assert set(all_entries()) == set(read_registry(shipped_registry()))


def test_the_users_own_models_stand_beside_the_shipped_ones_and_win(home: Path) -> None:
    write_own(home, {"letters-cnn": entry("my letters"), "mine": entry()})

    assert set(all_entries()) == {*read_registry(shipped_registry()), "mine"}
    assert find_entry("letters-cnn").summary == "my letters"
    assert find_entry("mine").source == "local"


def test_a_change_of_the_users_registry_is_seen_at_once(home: Path) -> None:
    path = write_own(home, {"mine": entry()})
    assert "mine" in all_entries()

    path.unlink()

    assert "mine" not in all_entries()


def test_a_newer_schema_is_refused_with_what_to_do(home: Path) -> None:
    path = write_own(home, {"mine": {"all": "different"}}, schema=SCHEMA + 1)

    with pytest.raises(IntegrityError) as caught:
        all_entries()

    assert str(path) in str(caught.value)
    assert "schema 2; this version of zoo reads schema 1" in str(caught.value)
    assert "pip install --upgrade zoo-transfer" in str(caught.value)


def test_a_newer_schema_may_have_moved_everything_and_is_still_called_newer(home: Path) -> None:
    write_own(home, ["models", "are", "a", "list", "now"], schema=SCHEMA + 1)

    with pytest.raises(IntegrityError, match="Upgrade zoo"):
        all_entries()


@pytest.mark.parametrize("schema", [0, None, "1", True, 1.5])
def test_a_schema_that_never_was_is_refused_without_talk_of_upgrades(home: Path, schema: Any) -> None:
    write_own(home, {}, schema=schema)

    with pytest.raises(IntegrityError, match="expected") as caught:
        all_entries()

    assert "Upgrade" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"schema": 1}', '{"schema": 1, "models": []}', "[" * 100_000, "\ufeff{}"],
    ids=["empty", "cut", "list", "null", "no models", "models no object", "nested deep", "BOM"],
)
def test_a_file_that_is_no_registry_is_refused_by_name(home: Path, text: str) -> None:
    path = write_own(home, {})
    path.write_text(text, encoding="utf-8")

    with pytest.raises(IntegrityError, match=r"registry\.json"):
        all_entries()


def test_a_file_that_is_no_text_is_refused_by_name(home: Path) -> None:
    write_own(home, {}).write_bytes(b"\xff\xfe\x00")

    with pytest.raises(IntegrityError, match=r"registry\.json is no JSON"):
        all_entries()


@pytest.mark.parametrize(
    "value",
    ["1" * 400, "1" * 5_000, "1e400", "[" * 900 + "]" * 900, '"\\ud800"', '{"\\ud800": "\\udfff"}'],
    ids=["400 digits", "5000 digits", "infinite", "nested deep", "no text", "no name"],
)
@pytest.mark.parametrize("field", [*entry(), "arch", "params", "units", "sources"])
def test_an_odd_value_in_any_field_is_refused_by_name(home: Path, field: str, value: str) -> None:
    path = write_own(home, {"mine": {**entry(), field: "HERE"}})
    path.write_text(path.read_text().replace('"HERE"', value))

    with pytest.raises(IntegrityError, match=r"registry\.json") as caught:
        all_entries()

    assert len(str(caught.value)) < 600
    str(caught.value).encode()


def test_an_odd_name_of_a_model_is_refused(home: Path) -> None:
    write_own(home, {"a\ud800": entry()})

    with pytest.raises(IntegrityError, match=r"named 'a\\ud800': it has a character that cannot be printed"):
        all_entries()


def test_a_home_of_which_nobody_can_say_what_is_in_it_is_a_disk_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", "/tmp/" + "x" * 300)

    with pytest.raises(DiskError, match=r"Cannot read /tmp/x.*registry\.json: File name too long; .*ZOO_HOME"):
        all_entries()


def test_a_folder_in_the_place_of_the_registry_is_a_disk_error(home: Path) -> None:
    (home / "registry.json").mkdir(parents=True)

    with pytest.raises(DiskError, match=r"Cannot read .*registry\.json: Is a directory"):
        all_entries()


def test_a_home_that_is_a_file_has_no_registry(home: Path) -> None:
    home.write_text("")

    assert set(all_entries()) == set(read_registry(shipped_registry()))


READ_AS_NOBODY = """
import os
from zoo.errors import DiskError
from zoo.registry import all_entries
if os.geteuid() == 0:
    os.seteuid(65534)  # permissions do not bind root
try:
    print(len(all_entries()))
except DiskError as error:
    print(error)
"""


@pytest.mark.parametrize(("locked", "mode"), [("home", 0), ("home/registry.json", 0)])
def test_a_registry_that_is_not_ours_to_read_is_a_disk_error(
    home: Path, tmp_path: Path, locked: str, mode: int
) -> None:
    write_own(home, {"mine": entry()})
    for parent in (tmp_path, *tmp_path.parents[:2]):  # pytest's folders are its user's alone
        parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    (tmp_path / locked).chmod(mode)

    child = subprocess.run([sys.executable, "-c", READ_AS_NOBODY], capture_output=True, text=True, check=False)
    (tmp_path / locked).chmod(0o755)  # so that pytest can tidy up

    assert f"Cannot read {home / 'registry.json'}: Permission denied; " in child.stdout, child.stderr
    assert "chmod" in child.stdout


def test_a_broken_entry_is_refused_by_name(home: Path) -> None:
    write_own(home, {"good": entry(), "bad": {**entry(), "sumary": "a slip"}})

    with pytest.raises(IntegrityError, match="model 'bad' has unknown fields: sumary"):
        all_entries()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("my*", ["My-vgg", "my-resnet"]),
        ("*VGG", ["My-vgg"]),
        ("my-????et", ["my-resnet"]),
        ("my-resnet", ["my-resnet"]),
        ("none*", []),
        ("y-vG", ["My-vgg"]),  # without a wildcard, a part of the name is enough
        ("y-vgg?", []),
    ],
)
def test_list_models_takes_wildcards_in_any_case(home: Path, pattern: str, expected: list[str]) -> None:
    write_own(home, {"my-resnet": entry(), "My-vgg": entry()})

    assert [model.name for model in list_models(pattern)] == expected


def test_list_models_gives_all_sorted_by_name(home: Path) -> None:
    write_own(home, {"zz": entry(), "aa": entry()})
    names = [model.name for model in list_models()]

    assert names == sorted(all_entries())


@pytest.fixture
def measured(home: Path) -> None:
    """Models whose order by name, accuracy, parameters and size all differ; of the last nothing is known."""
    figures = {"m-a": (70.0, 30, 5), "m-b": (75.0, 20, 9), "m-c": (75.0, 10, 7), "m-d": (None, None, None)}
    models = {}
    for name, (top1, params, size) in figures.items():
        files = [{"role": "model", "name": "a.onnx", "bytes": size}]
        metrics = {} if top1 is None else {"imagenet_top1": top1}
        models[name] = {**entry(), "files": files, "metrics": metrics, "params": params}
    write_own(home, models)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (None, ["m-a", "m-b", "m-c", "m-d"]),
        ("top1", ["m-b", "m-c", "m-a", "m-d"]),
        ("params", ["m-c", "m-b", "m-a", "m-d"]),
        ("bytes", ["m-a", "m-c", "m-b", "m-d"]),
    ],
)
def test_models_are_sorted_with_the_unknown_last_and_ties_by_name(sort: str | None, expected: list[str]) -> None:
    assert [model.name for model in list_models("m-*", sort=sort)] == expected


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("most", [20, 2e1])
def test_at_most_so_many_parameters_leaves_out_who_does_not_tell(most: float) -> None:
    assert [model.name for model in list_models("m-*", max_params=most)] == ["m-b", "m-c"]


def test_models_are_chosen_by_source_and_task() -> None:
    assert {model.source for model in list_models(source="slim")} == {"slim"}
    assert len(list_models(task="text-embedding")) == 12  # of TF Hub
    assert list_models("*", source="keras", task="text-embedding") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "kears"}, "keras, tfhub, slim, caffe, onnx, local, embedded; got 'kears'. Did you mean keras?"),
        ({"task": "image-clasification"}, "Did you mean image-classification?"),
        ({"sort": "accuracy"}, "one of name, top1, params, bytes; got 'accuracy'"),
    ],
)
def test_a_wrong_choice_names_the_valid_ones(options: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        list_models(**options)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("vgg16", "vgg16"),  # the whole name wins over caffe/vgg16
        ("caffe/vgg16", "caffe/vgg16"),
        ("VGG16", "vgg16"),
        ("Caffe/VGG16", "caffe/vgg16"),
        ("AlexNet", "caffe/alexnet"),
        ("inception_v4", "slim/inception_v4"),
        ("alexnet", "caffe/alexnet"),
        ("vgg16-7", "onnx/vgg16-7"),
        ("google/nnlm-en-dim50/2", "tfhub/google/nnlm-en-dim50/2"),
        ("https://tfhub.dev/google/nnlm-en-dim50/2", "tfhub/google/nnlm-en-dim50/2"),
        ("https://tfhub.dev/google/nnlm-en-dim50/2?tf-hub-format=compressed", "tfhub/google/nnlm-en-dim50/2"),
    ],
)
def test_a_model_is_found_by_its_name_its_handle_or_its_name_without_source(said: str, name: str) -> None:
    assert find_entry(said).name == name


@pytest.mark.parametrize("pattern", ["vgg*", "vgg1?", "vgg1[69]"])
def test_a_pattern_is_no_name(pattern: str) -> None:
    with pytest.raises(UsageError, match="is a pattern.* zoo list"):
        find_entry(pattern)


def test_a_number_of_parameters_is_a_number() -> None:
    with pytest.raises(UsageError, match="such as 25e6; got '25M'"):
        list_models(max_params="25M")  # type: ignore[arg-type]


def test_of_two_sources_the_nearer_one_answers_to_a_bare_name(home: Path) -> None:
    write_own(home, {"slim/net": entry("slim's"), "onnx/net": entry("onnx's"), "local/vgg_16": entry("mine")})

    assert find_entry("net").name == "onnx/net"
    assert find_entry("vgg_16").name == "local/vgg_16"  # before slim/vgg_16


@pytest.mark.parametrize("name", ["my net", "", "../vgg16", "https://example.org/a", "a/b.json", "con"])
def test_a_name_that_none_can_have_is_wrong_use(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a model's name: "):
        find_entry(name)


@pytest.mark.parametrize(
    ("said", "offered"),
    [
        ("ResNet-50", "resnet50"),
        ("caffe/VGG-16", "caffe/vgg16"),
        ("efficientnet-b0", "efficientnetb0"),
        ("keras/vgg16", "vgg16"),
        ("mobilenet_v1_100_224", "tfhub/google/imagenet/mobilenet_v1_100_224/classification/5"),
    ],
)
def test_a_name_written_in_another_way_is_offered_as_it_is_here(said: str, offered: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_entry(said)

    assert f"Did you mean {offered}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("inception_v4", "zoo pull slim/inception_v4"),
        ("nin", "nobody published an address of nin_imagenet.caffemodel and nin_imagenet_deploy.prototxt"),
        ("zfnet", "zoo show caffe/"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_what_can_be_done(name: str, words: str) -> None:
    with pytest.raises(UsageError, match="cannot load") as caught:
        find_loadable(name)

    assert words in str(caught.value)
    assert "zoo list" in str(caught.value)


def test_the_default_model_can_be_loaded() -> None:
    assert find_loadable("letters-cnn").name == "letters-cnn"


def test_an_unknown_name_offers_the_near_ones_and_the_next_command() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_entry("leters-cnn")

    assert "'leters-cnn'" in str(caught.value)
    assert "Did you mean letters-cnn?" in str(caught.value)
    assert "zoo list" in str(caught.value)


def test_a_name_like_no_other_offers_none() -> None:
    with pytest.raises(NotFoundError, match="No model named 'q'") as caught:
        find_entry("q")

    assert "Did you mean" not in str(caught.value)


def test_what_is_kept_and_not_loaded_says_what_is_loaded(home: Path) -> None:
    file = {"role": "weights", "name": "net.npz", "hash": "sha256:" + "0" * 64, "hash_from": "user", "bytes": 5}
    entry = {"source": "local", "task": "t", "summary": "s", "files": [file], "input": None, "output": {},
             "metrics": {}}  # fmt: skip
    home.mkdir()
    (home / "registry.json").write_text(json.dumps({"schema": 1, "models": {"net": entry}}))

    with pytest.raises(UsageError, match=r"'net' is kept.*net\.npz.*zoo add FILE --arch"):
        find_loadable("net")


@pytest.mark.parametrize(
    ("name", "kind"), [("flowers/", UsageError), ("flowers", NotFoundError), ("./my flowers", UsageError)]
)
def test_a_folder_that_is_said_as_a_name_is_offered_as_data(name: str, kind: type[Exception]) -> None:
    Path(name).mkdir()
    with pytest.raises(kind, match=rf"See: zoo list\. To learn .*: zoo transfer --data '?{name}'?$"):
        find_entry(name)
    (Path(name) / "run.json").touch()
    with pytest.raises(kind, match=rf"See: zoo list\. To make .*: zoo export '?{name}'? net\.keras$"):
        find_entry(name)

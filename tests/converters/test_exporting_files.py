"""Files that exports write: whole, with their weights beside them where they must be, and nothing else lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers
from zoo.converters import keras_to_onnx
from zoo.converters.exporting.writing import data_of

from zoo.errors import DiskError, UsageError

PATH = Path("model.onnx")
X = np.random.default_rng(0).standard_normal((3, 20)).astype(np.float32)


def net(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((20,), name="x"), layers.Dense(30, name="dense")])


def written(seed: int = 0, **options: bool) -> keras.Model:
    model = net(seed)
    keras_to_onnx(model, PATH, **options)  # type: ignore[arg-type]
    return model


def is_as(model: keras.Model) -> bool:
    found = onnxruntime.InferenceSession(str(PATH.absolute())).run(None, {"x": X})[0]
    return bool(np.abs(found - model.predict(X, verbose=0)).max() < 1e-5)


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_weights_lie_in_a_file_beside_that_is_called_after_them() -> None:
    model = written(external_data=True)
    proto = onnx.load(PATH, load_external_data=False)
    outside = {each.name for each in proto.graph.initializer if each.data_location == onnx.TensorProto.EXTERNAL}
    (data,) = data_of(PATH)

    assert outside == {"dense/kernel"}  # the only one of a kilobyte and more
    assert data.match("model.onnx.????????.data")
    assert names() == [PATH.name, data.name]
    assert is_as(model)
    written(external_data=True)
    assert names() == [PATH.name, data.name]  # the same weights again


def test_there_is_no_file_beside_for_small_weights_alone() -> None:
    keras_to_onnx(keras.Sequential([keras.Input((2,)), layers.Dense(2)]), PATH, external_data=True)

    assert names() == [PATH.name]


def test_weights_beside_an_earlier_model_go_with_it() -> None:
    written(external_data=True)
    (before,) = data_of(PATH)
    model = written(1, external_data=True)

    assert names() == [PATH.name, data_of(PATH)[0].name]
    assert data_of(PATH)[0] != before
    assert is_as(model)
    written()
    assert names() == [PATH.name]


def test_weights_under_the_name_that_they_once_had_go_too() -> None:
    written(external_data=True)
    proto = onnx.load(PATH)
    data_of(PATH)[0].unlink()
    onnx.save(proto, PATH, save_as_external_data=True, location="model.onnx.data", size_threshold=16)
    written()

    assert names() == [PATH.name]


@pytest.mark.parametrize("changed", ["producer", "place", "outside", "damaged", "gone", "copied"])
def test_weights_beside_that_may_be_of_another_stay(changed: str) -> None:
    written(external_data=True)
    (data,) = data_of(PATH)
    before = onnx.load(PATH, load_external_data=False)
    if changed == "producer":
        before.producer_name = "another"
    place = {"place": "elsewhere", "outside": f"../{Path().absolute().name}/{data}", "copied": "other.onnx.data"}
    for each in before.graph.initializer if changed in place else ():
        for entry in each.external_data:
            entry.value = place[changed] if entry.key == "location" else entry.value
    Path("other.onnx.data").write_bytes(b"of another")
    PATH.write_bytes(b"\xff" if changed == "damaged" else before.SerializeToString())
    if changed == "gone":
        PATH.unlink()
    written(1)

    assert names() == [PATH.name, data.name, "other.onnx.data"]


def test_a_file_of_the_user_is_not_replaced() -> None:
    Path("model.onnx.data").write_bytes(b"mine")
    written(external_data=True)
    written(1, external_data=True)
    written()

    assert Path("model.onnx.data").read_bytes() == b"mine"
    assert names() == ["model.onnx", "model.onnx.data"]


@pytest.mark.parametrize("path", ["", ".", "..", "/", "folder", "folder/", "a\0b"])
def test_a_path_that_cannot_be_a_files_is_refused(path: str) -> None:
    Path("folder").mkdir()
    with pytest.raises(UsageError, match="Expected the path of a file to write, such as net.onnx; got"):
        keras_to_onnx(net(), path)

    assert names() == ["folder"]
    assert list(Path("folder").iterdir()) == []


@pytest.mark.parametrize("path", ["/proc/net.onnx", "file/net.onnx"])
def test_a_folder_that_cannot_be_written_to_is_not_a_matter_of_space(path: str) -> None:
    Path("file").touch()
    with pytest.raises(DiskError, match=rf"Cannot write {path}: [A-Z][a-z ]*; choose another folder\.$"):
        keras_to_onnx(net(), path)


def test_a_model_that_has_no_room_leaves_the_earlier_one_with_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model = written(external_data=True)
    before, replace = names(), Path.replace

    def replace_but_the_model(self: Path, target: Path) -> Path:
        if target == PATH:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_but_the_model)
    for seed in (0, 1):  # the same weights, and others
        with pytest.raises(DiskError, match="No space left on device; free some space"):
            written(seed, external_data=True)
        assert names() == before
    assert is_as(model)


KILLED = """
import os, signal, sys
from pathlib import Path
from zoo.converters.exporting import writing
folder, path = Path(sys.argv[1]), Path(sys.argv[2])
replace = Path.replace
def replace_or_die(self, target):
    if target == path:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = replace_or_die
writing.publish(folder, path)
"""


def test_a_process_that_is_killed_leaves_the_earlier_model_with_its_weights() -> None:
    model = written(external_data=True)
    folder = Path("private")
    folder.mkdir()
    keras_to_onnx(net(1), folder / PATH, external_data=True)
    found = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(PATH)], env=os.environ, check=False)

    assert found.returncode == -signal.SIGKILL
    assert len([name for name in names() if name.endswith(".data")]) == 2
    assert is_as(model)

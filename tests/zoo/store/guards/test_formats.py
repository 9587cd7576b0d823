"""What users offer: ordinary models of every format, files under wrong names, and damage by chance."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import socket
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from model_files import (
    CAFFEMODEL,
    CAFFEMODEL_V0,
    CAFFEMODEL_V1,
    ONNX,
    PROTOTXT,
    bundle_entry,
    field,
    file_of,
    mutated,
    onnx_graph,
    onnx_model,
    onnx_tensor,
    outside,
    saved_by_tensorflow,
    saved_by_tensorflow_1,
    saved_model,
    table,
    write_checkpoint,
)

from zoo.errors import DiskError, IntegrityError, NotFoundError, UnsafeFileError, UsageError, ZooError
from zoo.store.guards.formats import Offered, check_format, recognise

HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(88)


def zip_of(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return path


def npz_of(path: Path) -> Path:
    np.savez(path, w=np.ones((2, 3)))
    return path


def refuses(error: type[ZooError], cause: str, *paths: Path) -> str:
    """Asserts that what is offered is refused, by words fit for a terminal, and returns them."""
    with pytest.raises(error, match=cause) as caught:
        check_format(recognise(paths))
    assert str(caught.value).isprintable()
    return str(caught.value)


# --- what is offered ---


@pytest.mark.parametrize(
    ("name", "make", "format", "role"),
    [
        ("net.keras", lambda path: zip_of(path, "metadata.json", "config.json", "model.weights.h5"), "keras", "model"),
        ("net.h5", lambda path: file_of(path, HDF5), "h5", "model"),
        ("net.weights.h5", lambda path: file_of(path, HDF5), "h5", "model"),
        ("net.hdf5", lambda path: file_of(path, HDF5), "h5", "model"),
        ("NET.H5", lambda path: file_of(path, HDF5), "h5", "model"),
        ("net.onnx", lambda path: file_of(path, ONNX), "onnx", "model"),
        ("net.npz", npz_of, "npz", "weights"),
    ],
)
def test_a_file_is_recognised_by_its_name_and_what_it_begins_with(
    tmp_path: Path, name: str, make: Callable[[Path], Path], format: str, role: str
) -> None:
    path = make(tmp_path / name)
    offered = recognise([path])
    assert offered == Offered(format, ((role, path),))  # type: ignore[arg-type]
    check_format(offered)


def test_a_real_keras_archive_is_recognised(tmp_path: Path) -> None:
    import keras

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "net.keras")
    assert recognise([tmp_path / "net.keras"]).format == "keras"


def test_a_caffe_net_is_its_two_files_in_either_order(tmp_path: Path) -> None:
    definition, weights = (
        file_of(tmp_path / "deploy.prototxt", PROTOTXT),
        file_of(tmp_path / "n.caffemodel", CAFFEMODEL),
    )
    expected = Offered("caffe", (("definition", definition), ("weights", weights)))
    assert recognise([definition, weights]) == recognise([weights, definition]) == expected
    check_format(expected)


def test_one_file_of_a_caffe_net_alone_names_the_other(tmp_path: Path) -> None:
    refuses(UsageError, "give its .caffemodel too", file_of(tmp_path / "deploy.prototxt", PROTOTXT))
    refuses(UsageError, r"give its .prototxt \(deploy.prototxt\) too", file_of(tmp_path / "n.caffemodel", CAFFEMODEL))


@pytest.mark.parametrize("is_text", [False, True])
def test_a_folder_with_a_graph_is_a_saved_model(tmp_path: Path, is_text: bool) -> None:
    folder = saved_model(tmp_path / "net")
    if is_text:
        from google.protobuf import text_format
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        graph = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        (folder / "saved_model.pbtxt").write_text(text_format.MessageToString(graph))
        (folder / "saved_model.pb").unlink()
    offered = recognise([folder])
    assert offered == Offered("savedmodel", (("archive", folder),))
    assert recognise([folder / ("saved_model.pbtxt" if is_text else "saved_model.pb")]) == offered
    check_format(offered)


@pytest.mark.parametrize(
    "name", ["net.ckpt", "net.ckpt.index", "net.ckpt.data-00000-of-00001", "net.ckpt.meta", "checkpoint", "."]
)
def test_a_checkpoint_is_recognised_by_its_prefix_any_file_of_it_and_its_folder(tmp_path: Path, name: str) -> None:
    folder = saved_by_tensorflow_1(tmp_path / "slim", 2).parent
    offered = recognise([folder / name])
    files = [folder / f"net.ckpt.{ending}" for ending in ("index", "data-00000-of-00001", "meta")]
    assert offered == Offered("checkpoint", tuple(("archive", path) for path in files), "net.ckpt")
    check_format(offered)


def test_all_files_of_a_checkpoint_are_one_model(tmp_path: Path) -> None:
    folder = saved_by_tensorflow_1(tmp_path / "slim", 2).parent
    assert recognise(sorted(folder.glob("net.ckpt*"))) == recognise([folder])


def test_a_data_file_whose_values_look_like_a_pickle_is_none(tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path / "net", {"w": bundle_entry((2,), size=8)}, pickle.dumps([1.0], 2))
    assert recognise([prefix.with_name("net.data-00000-of-00001")]).prefix == "net"


@pytest.mark.parametrize("name", ["vgg_16.ckpt", "net.ckpt-100", "net-100"])
def test_a_checkpoint_of_one_file_is_recognised(tmp_path: Path, name: str) -> None:
    path = saved_by_tensorflow_1(tmp_path / "slim", 1, name)
    files = (("archive", path), ("archive", path.with_name(f"{name}.meta")))
    assert recognise([path]) == Offered("checkpoint", files, name)
    check_format(recognise([path]))
    path.with_name(f"{name}.meta").unlink()
    assert recognise([path]) == Offered("checkpoint", files[:1], name)


def test_a_link_to_a_file_counts_as_the_file_under_the_name_of_the_link(tmp_path: Path) -> None:
    file_of(tmp_path / "blobs" / "0123", ONNX)
    link = tmp_path / "net.onnx"
    link.symlink_to("blobs/0123")
    assert recognise([link]) == Offered("onnx", (("model", link),))
    check_format(recognise([link]))


def test_a_name_as_long_as_names_can_be_is_no_trouble(tmp_path: Path) -> None:
    path = file_of(tmp_path / f"{'x' * 250}.onnx", ONNX)  # so that no ".index" can be put behind it
    assert recognise([path]).format == "onnx"


# --- what is not offered ---


def test_a_path_of_nothing_tells_near_names_of_its_folder(tmp_path: Path) -> None:
    file_of(tmp_path / "flowers.keras")
    file_of(tmp_path / "flower\x1b[2J.keras")
    refuses(NotFoundError, r"There is no flower.keras in .*Did you mean flowers.keras\?", tmp_path / "flower.keras")
    refuses(NotFoundError, rf"There is no wombats.keras in {tmp_path.resolve()}\.$", tmp_path / "wombats.keras")
    refuses(NotFoundError, r"There is no wombats.keras in this folder\.", Path("wombats.keras"))
    refuses(NotFoundError, "nor can its folder", tmp_path / "nowhere" / "net.keras")
    (tmp_path / "link.keras").symlink_to("gone.keras")
    refuses(NotFoundError, "is a link to 'gone.keras', where nothing is", tmp_path / "link.keras")


def test_nothing_two_models_and_too_many_files_are_refused(tmp_path: Path) -> None:
    one, other = file_of(tmp_path / "a.onnx", ONNX), file_of(tmp_path / "b.onnx", ONNX)
    definition = file_of(tmp_path / "a.prototxt", PROTOTXT)
    refuses(UsageError, "got nothing")
    refuses(UsageError, "2 files that are no one model", one, other)
    refuses(UsageError, "one .prototxt and one .caffemodel", definition, one)
    refuses(UsageError, "one .prototxt and one .caffemodel", definition, definition)


@pytest.mark.parametrize(
    ("name", "data", "cause"),
    [
        ("net.foo", b"hello", "Expected a .keras file, .* got .*net.foo"),
        ("net.foo", HDF5, "By its content it is an HDF5 file"),
        ("net.foo", ONNX, "By its content it is an ONNX model"),
        ("net.bin", ONNX, "By its content it is an ONNX model"),
        ("net", CAFFEMODEL, "By its content it is the weights of a Caffe net"),
        ("net.tflite", b"\x1c\0\0\0TFL3", r"does not accept TensorFlow Lite models"),
        ("net.npy", b"", "damaged"),
        ("net.ckpt-00000-of-00002", None, "one of several files of an old checkpoint"),
    ],
)
def test_what_this_version_does_not_accept_says_what_it_does(
    tmp_path: Path, name: str, data: bytes | None, cause: str
) -> None:
    path = tmp_path / name
    if data is None:
        shutil.move(saved_by_tensorflow_1(tmp_path / "slim", 1), path)
    else:
        file_of(path, data)
    refuses(IntegrityError if cause == "damaged" else UsageError, cause, path)


def test_a_single_array_is_told_how_to_become_an_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.ones(3))
    refuses(UsageError, "numpy.savez", tmp_path / "w.npy")


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    refuses(UsageError, "is neither", tmp_path)


def test_a_folder_with_several_checkpoints_names_them(tmp_path: Path) -> None:
    names = [f"net-{number}" for number in (1, 2)]
    listed = "".join(f'all_model_checkpoint_paths: "/elsewhere/{name}"\n' for name in names)
    file_of(tmp_path / "checkpoint", f'model_checkpoint_path: "/elsewhere/net-2"\n{listed}'.encode())
    refuses(UsageError, r"has 2 \(net-1, net-2\). Give one: .*net-2", tmp_path)


def test_a_folder_whose_checkpoint_was_written_elsewhere_is_recognised_by_its_name(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net-1", {"w": bundle_entry((2,), size=8)})
    file_of(tmp_path / "checkpoint", b'model_checkpoint_path: "/home/somebody/net-1"\n')
    assert recognise([tmp_path]).prefix == "net-1"


@pytest.mark.parametrize("name", ["..", "a\\t", "con", "x\x7f"])
def test_a_list_of_checkpoints_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    file_of(tmp_path / "checkpoint", f'model_checkpoint_path: "{name}"\n'.encode())
    refuses(UnsafeFileError if name in ("..", "con") else IntegrityError, str(tmp_path), tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_neither_file_nor_folder_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "net.keras"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            os.chdir(tmp_path)  # the path of a socket may be short only
            server.bind("net.keras")
    else:
        path = Path("/dev/null")
    refuses(UsageError, f"is a {kind}", path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    path = file_of(tmp_path / "net.onnx", ONNX)
    path.chmod(0)
    refuses(DiskError, "check its permissions", path)


def test_links_that_lead_in_a_circle_and_paths_that_can_be_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.keras").symlink_to("net.keras")
    refuses(DiskError, "Cannot read", tmp_path / "net.keras")
    refuses(UsageError, "Expected a path", tmp_path / "net\0.keras")


# --- wrong content ---

RANDOM = random.Random(0).randbytes(10_000)


@pytest.mark.parametrize(
    ("name", "tried"),
    [
        ("net.h5", "an HDF5 file"),
        ("net.hdf5", "an HDF5 file"),
        ("net.weights.h5", "an HDF5 file"),
        ("net.keras", "a Keras archive"),
        ("net.onnx", "an ONNX model"),
        ("net.pb", "a TensorFlow graph"),
        ("saved_model.pb", "the graph of a SavedModel"),
        ("saved_model.pbtxt", "the graph of a SavedModel"),
        ("net.caffemodel", "the weights of a Caffe net"),
        ("deploy.prototxt", "the definition of a Caffe net"),
        ("net.npz", r"NumPy arrays in a zip \(.npz\)"),
        ("net.index", "the index of a TensorFlow checkpoint"),
        ("net.ckpt", "a TensorFlow checkpoint in one file"),
    ],
)
def test_a02_random_bytes_are_refused_naming_the_format_tried(tmp_path: Path, name: str, tried: str) -> None:
    for data in (RANDOM, RANDOM[:1], b""):
        path = file_of(tmp_path / name, data)
        message = refuses(IntegrityError, f"expected {tried}", path)
        assert str(path) in message
    with pytest.raises(IntegrityError) as caught:
        recognise([path])
    assert caught.value.exit_code == 4


def test_a02_random_bytes_of_any_length_and_kind_are_no_model(tmp_path: Path) -> None:
    chance = random.Random(1)
    for name in ("net.onnx", "net.caffemodel", "net.pb", "saved_model.pb", "net.npz", "net.ckpt"):
        for length in range(1, 200):
            path = file_of(tmp_path / name, chance.randbytes(length))
            refuses(IntegrityError, "is not what its name says", path)


@pytest.mark.parametrize(
    ("name", "data", "seems"),
    [
        ("net.keras", HDF5, "an HDF5 file"),
        ("net.h5", ONNX, "an ONNX model"),
        ("net.onnx", CAFFEMODEL, "the weights of a Caffe net"),
        ("net.onnx", HDF5, "an HDF5 file"),
        ("net.caffemodel", ONNX, "an ONNX model"),
        ("net.caffemodel", PROTOTXT, "the definition of a Caffe net"),
        ("deploy.prototxt", CAFFEMODEL, "the weights of a Caffe net"),
        ("net.h5", b"<!DOCTYPE html><html>", "a page of the web"),
        ("net.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        ("net.onnx", b"\x1f\x8b\x08" + bytes(100), "a gzip archive"),
        ("net.h5", b"\x93NUMPY\1\0", "a NumPy array"),
        ("net.index", HDF5, "an HDF5 file"),
        ("net.ckpt", HDF5, "an HDF5 file"),
        ("net.h5", table([(b"", field(1, b""))]), "a TensorFlow checkpoint in one file"),
        ("net.h5", field(1, field(1, "x") + field(2, "Placeholder")), "a TensorFlow graph"),
    ],
)
def test_a_file_under_a_wrong_name_is_told_what_it_seems_to_be(
    tmp_path: Path, name: str, data: bytes, seems: str
) -> None:
    refuses(IntegrityError, f"is not what its name says: expected .*, found {seems}", file_of(tmp_path / name, data))


def test_zips_under_each_others_names_are_told_apart(tmp_path: Path) -> None:
    npz_of(tmp_path / "net.npz").rename(tmp_path / "net.keras")
    refuses(IntegrityError, "found NumPy arrays in a zip", tmp_path / "net.keras")
    refuses(IntegrityError, "found a Keras archive", zip_of(tmp_path / "net.npz", "metadata.json", "config.json"))


def test_a_zip_that_seems_to_have_millions_of_names_costs_little_memory(tmp_path: Path) -> None:
    # each of these two million beginnings of a name would, if believed, make one of 19,000 bytes
    path = file_of(tmp_path / "net.npz", b"PK\3\4" + b"PK\1\2" * 2_000_000)
    tracemalloc.start()
    try:
        refuses(IntegrityError, "no zip end record", path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20  # the last 8 MiB are looked through, some of it copied
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(b"name: 'net'\n", "found nothing", id="no-layer"),
        pytest.param(PROTOTXT + b"\0", "byte 0x00", id="zero-byte"),
        pytest.param(PROTOTXT + b"\x1b[2J", "byte 0x1b", id="terminal-code"),
    ],
)
def test_a_definition_that_is_no_text_is_refused(tmp_path: Path, data: bytes, cause: str) -> None:
    definition, weights = file_of(tmp_path / "d.prototxt", data), file_of(tmp_path / "n.caffemodel", CAFFEMODEL)
    refuses(IntegrityError, cause, definition, weights)


def test_no_library_that_opens_models_is_loaded_by_the_guards(tmp_path: Path) -> None:
    paths = [npz_of(tmp_path / "net.npz"), file_of(tmp_path / "net.onnx", ONNX), saved_model(tmp_path / "folder")]
    paths.append(saved_by_tensorflow(tmp_path / "checkpoint"))
    code = (
        "import sys, pathlib\n"
        "from zoo.store.guards.formats import check_format, recognise\n"
        "for path in sys.argv[1:]: check_format(recognise([pathlib.Path(path)]))\n"
        "print(sorted({'numpy', 'tensorflow', 'keras', 'h5py', 'onnx', 'pickle'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- damage by chance ---


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of every format."""
    return models_of_every_format(tmp_path_factory.mktemp("whole"))


def models_of_every_format(folder: Path) -> Path:
    arrays = {"w": np.ones((2, 3), np.float32), "v": np.arange(5), "s": np.array(["one", "two"])}
    np.savez(folder / "net.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)
    np.save(folder / "w.npy", arrays["w"])
    inner = onnx_graph(field(5, onnx_tensor(outside("weights.bin"))))
    node = field(1, field(4, "If") + field(5, field(1, "then") + field(6, inner)))
    file_of(folder / "net.onnx", ONNX)
    file_of(folder / "deep.onnx", onnx_model(onnx_graph(node)))
    for name, data in {"net": CAFFEMODEL, "v1": CAFFEMODEL_V1, "v0": CAFFEMODEL_V0}.items():
        file_of(folder / f"{name}.caffemodel", data)
        file_of(folder / f"{name}.prototxt", PROTOTXT)
    saved_by_tensorflow(folder / "tf2")
    saved_by_tensorflow_1(folder / "tf1", 2)
    saved_by_tensorflow_1(folder / "slim", 1)
    saved_model(folder / "net")
    zip_of(folder / "net.keras", "metadata.json", "config.json")
    file_of(folder / "net.h5", HDF5)
    return folder


def damage(path: Path, chance: random.Random) -> list[Path]:
    """Damages a file of a model, and returns what to offer so that it is read."""
    data = path.read_bytes()
    if path.suffix == ".npz" and chance.random() < 0.8:  # else its checksums find everything
        with zipfile.ZipFile(path) as archive:
            arrays = {name: archive.read(name) for name in archive.namelist()}
        name = chance.choice(sorted(arrays))
        arrays[name] = mutated(arrays[name], chance)
        with zipfile.ZipFile(path, "w", chance.choice((0, 8))) as archive:
            for each, content in arrays.items():
                archive.writestr(each, content)
    elif path.suffix in (".index", ".ckpt") and chance.random() < 0.8:
        path.write_bytes(table(*damaged_blocks(data, chance)))
    else:
        path.write_bytes(mutated(data, chance))
    if path.suffix in (".caffemodel", ".prototxt"):
        return [path.with_suffix(".prototxt"), path.with_suffix(".caffemodel")]
    if (path.parent / "saved_model.pb").exists():
        return [path.parent]
    return [path.parent.parent if path.parent.name in ("variables", "assets") else path]


def damaged_blocks(data: bytes, chance: random.Random) -> list[list[tuple[bytes, bytes]]]:
    """Returns the entries of a table, one of them damaged: a table made of them has right checksums."""
    from zoo.store.guards.tables import table_entries
    from zoo.store.guards.wire import Wire
    from zoo.store.unpacking import Source

    class Bytes(Source):
        def __init__(self) -> None:
            self.size = len(data)

        def read_at(self, offset: int, length: int) -> bytes:
            return data[offset : offset + length]

    entries = [(key, data[start:stop]) for key, start, stop in table_entries(Wire(Bytes()))]
    at = chance.randrange(len(entries))
    key, value = entries[at]
    entries[at] = (mutated(key, chance), value) if chance.random() < 0.2 else (key, mutated(value, chance))
    return [entries]


def survives(whole: Path, folder: Path, chance: random.Random) -> bool:
    """Asserts that a damaged model passes or is refused as it should be; returns whether it passed."""
    shutil.copytree(whole, folder)
    path = chance.choice(sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size))
    try:
        check_format(recognise(damage(path, chance)))
    except ZooError as error:
        assert str(error).isprintable(), f"{path.name}: {error!r}"
        return False
    except BaseException as error:
        raise AssertionError(f"{path} gave {error!r}") from error
    return True


@pytest.mark.parametrize("seeds", [range(80), pytest.param(range(80, 300), marks=pytest.mark.slow)], ids=str)
def test_damage_by_chance_is_refused_or_harmless(seeds: range, whole: Path, tmp_path: Path) -> None:
    passed = 0
    for seed in seeds:
        passed += survives(whole, tmp_path / "damaged", random.Random(seed))
        shutil.rmtree(tmp_path / "damaged")
    assert 0 < passed < len(seeds) / 2  # bits of values change no shape, and most other damage is found


def test_graphs_by_themselves_and_safetensors_are_accepted(tmp_path: Path) -> None:
    graph, weights = tmp_path / "frozen.pb", tmp_path / "net.safetensors"
    graph.write_bytes(field(1, field(1, "x") + field(2, "Placeholder")))
    weights.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert recognise([graph]) == Offered("graph", (("model", graph),))
    assert recognise([weights]) == Offered("safetensors", (("weights", weights),))

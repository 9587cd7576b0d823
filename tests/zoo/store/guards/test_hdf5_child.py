"""The child process that lists HDF5 files: killed by a file, out of time or memory, or taken over by it (X06, X07)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hostile_hdf5 import MIB, one_text_many_times, packed_chunks, patched, written

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards import hdf5_child
from zoo.store.guards.hdf5 import hdf5_outline


def refused(path: Path) -> str:
    with pytest.raises(UnsafeFileError) as caught:
        hdf5_outline(path)
    return str(caught.value)


def one_kernel(file: h5py.File) -> None:
    file.create_dataset("conv/kernel", data=np.zeros((3, 3, 3, 8), "f4"))


def test_x07_a_file_that_asks_for_more_memory_than_there_may_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attribute of 1,000 texts of a mebibyte, which are one in the file."""
    monkeypatch.setattr(hdf5_child, "_MEMORY", 700 << 20)  # h5py and NumPy have half of that mapped
    path = one_text_many_times(tmp_path / "texts.h5", times=1000, size=MIB + 3)
    assert path.stat().st_size < 2 * MIB
    assert "takes more than the 700 MiB of memory" in refused(path)


def test_x07_a_file_that_asks_for_more_time_than_there_may_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """800 MiB that unpack from the same 16 MiB: within the ratio, some seconds of work."""
    monkeypatch.setattr(hdf5_child, "_SECONDS", 1)
    monkeypatch.setattr(hdf5_child, "_BYTES_A_SECOND", 1 << 40)
    noise = random.Random(0).randbytes(20 << 10)
    packed = zlib.compress(noise + bytes(MIB - len(noise)))
    path = written(tmp_path / "slow.h5", lambda file: packed_chunks(file, "kernel", (800 * MIB,), (MIB,), packed))
    assert "it took more processor time than it may" in refused(path)


def test_x07_a_file_that_crashes_hdf5_does_not_crash_this_process(tmp_path: Path) -> None:
    """HDF5 1.14.6 frees what it never had where one byte of a large group's links is damaged; others say so."""

    def fill(file: h5py.File) -> None:
        for number in range(40):  # more than fit the header, so that they lie in a heap
            file.create_group(f"layer {number:02}")

    path = written(tmp_path / "crash.h5", fill, libver="latest")
    patched(path, b"layer 07", b"lbyer 07", 1)
    with pytest.raises((UnsafeFileError, IntegrityError), match="crashed on it|h5py cannot read it"):
        hdf5_outline(path)


def instead_of_the_lister(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Path:
    script = tmp_path / "lister.py"
    script.write_text(f"import json, os, signal, sys, time\n{code}\n")
    monkeypatch.setattr(hdf5_child, "_LISTER", script)
    return written(tmp_path / "vgg.h5", one_kernel)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed on it (SIGSEGV)"),
        ("print('{}', flush=True); os.abort()", "crashed on it (SIGABRT)"),
        ("os.kill(os.getpid(), 40)", "crashed on it (signal 40)"),
        ("sys.exit(3)", "crashed on it (exit code 3)"),
        ("time.sleep(100)", "it took too long"),
        ("while True: sys.stdout.write('x' * 1000)", "more than 1 MiB of names and texts"),
    ],
)
def test_x07_a_child_that_dies_or_never_ends_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    monkeypatch.setattr(hdf5_child, "_SECONDS", 0)
    monkeypatch.setattr(hdf5_child, "_PATIENCE", 2)  # seconds; a script that does nothing takes a fiftieth
    monkeypatch.setattr(hdf5_child, "_LONGEST_ANSWER", MIB)
    assert told in refused(instead_of_the_lister(tmp_path, monkeypatch, code))


DATASET = {"path": "a", "shape": [1], "dtype": "<f4", "item": 4, "filters": [], "chunk": [], "chunks": 0, "stored": 4,
           "address": 8}  # fmt: skip
NONSENSE = [
    *("", "{", "[]", "null", "\xff", "[" * 100_000, "9" * 10_000),
    *({}, {"datasets": {}}, {"datasets": [], "attributes": {}}, {"datasets": [], "attributes": [["a", []]]}),
    *({"datasets": [], "attributes": [["a", {"b": {}}]]}, {"datasets": [], "attributes": [[1, {}]]}),
    *({"datasets": [DATASET, DATASET], "attributes": []}, {"datasets": [[]], "attributes": []}),
    *({"datasets": [DATASET | {key: value}], "attributes": []} for key, value in
      [("path", 1), ("shape", 1), ("shape", [-1]), ("shape", ["1"]), ("dtype", None), ("dtype", "|O"), ("item", -4),
       ("item", 1.5), ("chunk", [0.5])]),
]  # fmt: skip


@pytest.mark.parametrize("answer", NONSENSE, ids=lambda answer: str(answer)[:40])
def test_x07_a_child_that_was_taken_over_convinces_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    path = instead_of_the_lister(tmp_path, monkeypatch, f"sys.stdout.buffer.write({text.encode('latin-1')!r})")
    assert "an answer without sense" in refused(path)


def test_x06_the_child_can_open_nothing_after_the_file_and_write_nothing(tmp_path: Path) -> None:
    """The second line: even a way out of the file that the lister did not know would lead nowhere."""
    path = written(tmp_path / "vgg.h5", one_kernel)
    code = f"""
import sys
sys.path.insert(0, {str(Path(hdf5_child.__file__).parent)!r})
import hdf5_lister, resource
hdf5_lister.take_limits(20, 1 << 30)
assert hdf5_lister.answer("list", {str(path)!r})["datasets"]
for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
    assert resource.getrlimit(kind) == (0, 0)
try:
    open({str(path)!r})
except OSError as error:
    sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr


def test_nothing_in_the_environment_changes_what_the_child_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules beside the working folder, on PYTHONPATH, and plugins of HDF5."""
    for name in ("h5py.py", "json.py", "sitecustomize.py", "usercustomize.py"):
        (tmp_path / name).write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "vgg.h5", one_kernel)
    before = hdf5_outline(path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))
    monkeypatch.setenv("HDF5_DRIVER", "nonsense")
    assert hdf5_outline(path) == before

"""Folders of SavedModels by TensorFlow: whole, with parts missing, and with what belongs into none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from model_files import file_of, saved_model

from zoo.errors import IntegrityError, UnsafeFileError, ZooError
from zoo.store.guards.saved_models import check_saved_model_folder


def refuses(error: type[ZooError], cause: str, folder: Path) -> None:
    """Asserts that a folder is refused, by words fit for a terminal."""
    with pytest.raises(error, match=cause) as caught:
        check_saved_model_folder(folder)
    assert str(caught.value).isprintable()


def test_a06_a_saved_model_without_a_data_file_names_it(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    (folder / "variables/variables.data-00000-of-00001").unlink()
    refuses(IntegrityError, "data file 'variables.data-00000-of-00001' is missing", folder)


def test_a06_a_saved_model_without_the_index_of_its_variables_says_so(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    (folder / "variables/variables.index").unlink()
    refuses(IntegrityError, "no index", folder)


def test_a_saved_model_without_variables_passes(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    (folder / "fingerprint.pb").unlink()
    shutil.rmtree(folder / "variables")
    check_saved_model_folder(folder)


def test_x15_a_saved_model_whose_data_file_is_cut_short_is_refused(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    data = folder / "variables/variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:10])
    refuses(UnsafeFileError, "reaches to byte", folder)


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        pytest.param(lambda path: path.symlink_to("/etc/passwd"), "'assets/x' in it is a link", id="link"),
        pytest.param(lambda path: path.symlink_to("/etc"), "'assets/x' in it is a link", id="link-to-a-folder"),
        pytest.param(os.mkfifo, "'assets/x' in it is no file", id="pipe"),
        pytest.param(lambda path: file_of(path.with_name("a\nb")), r"a\\nb.* not usable everywhere", id="odd-name"),
        pytest.param(lambda path: file_of(path.with_name("aux.txt")), "a device on Windows", id="device-on-windows"),
        pytest.param(
            lambda path: [file_of(path.with_name(str(number))) for number in range(10_001)],
            "more than 10,000",
            id="many",
        ),
        pytest.param(lambda path: file_of(path.joinpath(*"d" * 70, "x")), "too deep", id="deep"),
    ],
)
def test_a_saved_model_has_regular_files_with_usable_names_only(
    tmp_path: Path, spoil: Callable[[Path], object], cause: str
) -> None:
    folder = saved_model(tmp_path / "net")
    spoil(folder / "assets" / "x")
    refuses(UnsafeFileError, cause, folder)


def test_the_graph_of_a_saved_model_may_be_no_link(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    (folder / "saved_model.pb").rename(tmp_path / "elsewhere.pb")
    (folder / "saved_model.pb").symlink_to(tmp_path / "elsewhere.pb")
    refuses(UnsafeFileError, "'saved_model.pb' in it is a link", folder)

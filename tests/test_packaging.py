"""The wheel and the editable install: what is inside, and that both work where the repository is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# TensorFlow and the rest come from the environment of the tests: only this package is under test here.
SITE = next(path for path in sys.path if path.endswith("site-packages"))
PROBE = """
import zoo, zoo.cli.main, zoo.converters
from zoo.registry.index import shipped_registry
from zoo.store import pull_entry
artifact = pull_entry(zoo.find_entry("letters-cnn"))
print(zoo.__file__, zoo.cli.__file__, zoo.converters.__file__, shipped_registry(), artifact.files["model"], sep="\\n")
"""


def pip(environment: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "--quiet", "--no-deps",
         "--no-index", "--no-build-isolation", "--disable-pip-version-check", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def probe(environment: Path, elsewhere: Path) -> list[Path]:
    done = subprocess.run(
        [environment / "bin" / "python", "-c", PROBE],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.splitlines()]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An empty virtual environment that borrows the dependencies, but not this package."""
    folder = tmp_path / "environment"
    venv.create(folder)
    (site,) = (folder / "lib").glob("python*/site-packages")
    # A plain path, after the environment's own folder: its .pth files, an editable zoo among them, are not read.
    (site / "borrowed.pth").write_text(SITE + "\n")
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns("build", ".*_cache", ".venv"))
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (folder / "dist").glob("*.whl")
    return path


def test_the_wheel_holds_every_module_the_registry_and_the_embedded_model(wheel: Path) -> None:
    """The wheel was built from the source distribution, so that one is complete too."""
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        "zoo/shipped/registry.json",
        "zoo/embedded/letters-cnn.keras",
        "zoo/runs/report.html.j2",
        "zoo/py.typed",
    }
    for folder, package in (("zoo", "zoo"), ("cli", "zoo/cli"), ("converters", "zoo/converters")):
        for path in (ROOT / folder).rglob("*.py"):
            expected.add(f"{package}/{path.relative_to(ROOT / folder)}")
    assert expected - names == set()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"zoo", next(top for top in tops if top.endswith(".dist-info"))}
    assert zipfile.ZipFile(wheel).read("zoo/shipped/registry.json") == (ROOT / "registry.json").read_bytes()


def test_the_wheel_works_elsewhere(wheel: Path, environment: Path, tmp_path: Path) -> None:
    pip(environment, str(wheel))
    places = probe(environment, tmp_path)
    assert all(environment in place.parents for place in places)
    assert places[3].parent.name == "shipped"
    done = subprocess.run(
        [environment / "bin" / "zoo", "list", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"letters-cnn"' in done.stdout


def test_the_editable_install_works_and_shows_the_repository(environment: Path, tmp_path: Path) -> None:
    source = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    subprocess.run(["cp", "-r", *[ROOT / name for name in ("zoo", "cli", "converters")], source], check=True)
    subprocess.run(["cp", ROOT / "pyproject.toml", ROOT / "registry.json", source], check=True)
    pip(environment, "--editable", str(source))
    assert [place.relative_to(source).parts[0] for place in probe(environment, tmp_path)] == [
        "zoo", "cli", "converters", "registry.json", "zoo",
    ]  # fmt: skip


def test_a_users_own_modules_shadow_nothing(environment: Path, wheel: Path, tmp_path: Path) -> None:
    """A notebook beside which a converters.py and a cli.py lie."""
    pip(environment, str(wheel))
    for name in ("converters", "cli"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    assert len(probe(environment, tmp_path)) == 5

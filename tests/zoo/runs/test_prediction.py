"""What a run says of pictures and rows, however they come."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_runs import digit, save_digit, small_run

from zoo.errors import DataError, IntegrityError, NotFoundError, UnsafeFileError, UsageError, ZooError
from zoo.runs.prediction import Predictor, Wanted

SIZES = [(8, 8), (8, 8), (11, 9), (8, 8), (30, 40)]


@pytest.fixture
def pictures() -> list[Path]:
    return [save_digit(Path(f"p/{number}.png"), number, size) for number, size in enumerate(SIZES)]


def of_plain_keras(run: Any, number: int, size: tuple[int, int]) -> Any:
    """Returns what the file of a run's model says of a picture, computed alone and by nothing of ours."""
    model = keras.models.load_model(run.path / "model.keras")
    return np.asarray(model(digit(number, size)[None, ..., None].astype(np.float32)))[0]


def test_files_of_several_sizes_say_what_plain_keras_says_of_each(pictures: list[Path]) -> None:
    run = small_run()
    found = run.predict(pictures)

    assert [each.file for each in found] == [str(path) for path in pictures]
    for number, (each, size) in enumerate(zip(found, SIZES, strict=True)):
        np.testing.assert_allclose(each.probabilities, of_plain_keras(run, number, size), atol=1e-6)
        assert each.label == run.classes[int(np.argmax(each.probabilities))]
        assert each.probability == max(each.probabilities)


def test_pictures_that_have_one_size_for_the_net_go_through_it_together(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    outputs = Predictor._outputs

    def watched(self: Predictor, x: Any) -> Any:
        shapes.append(x.shape)
        return outputs(self, x)

    monkeypatch.setattr(Predictor, "_outputs", watched)
    small_run().predict(pictures)
    assert shapes == [(5, 28, 28, 1)]


def test_results_come_before_all_is_computed() -> None:
    pictures = [save_digit(Path(f"p/{number:03}.png"), number) for number in range(70)]
    counts: list[int] = []

    class Told:
        def start(self, total: int | None, unit: str) -> None:
            assert total == 70

        def expect(self, total: int) -> None: ...

        def advance(self, n: int, **_: float) -> None:
            counts.append(n)

        def close(self) -> None:
            counts.append(0)

    found = small_run().predictions(pictures, progress=Told())
    assert [each.file for each in itertools.islice(found, 3)] == [str(path) for path in pictures[:3]]
    assert counts == []  # the first batch is not done yet
    assert len(list(found)) == 67
    assert sum(counts) == 70
    assert len(counts) > 2


def test_bytes_and_folders_and_files_in_one_list(pictures: list[Path]) -> None:
    run = small_run()
    found = run.predict([pictures[0].read_bytes(), "p", str(pictures[4])])

    assert [each.file for each in found] == ["-", *map(str, pictures), "p/4.png"]
    assert found[0].label == found[1].label
    np.testing.assert_allclose(found[0].probabilities, found[1].probabilities, atol=1e-6)


def test_what_cannot_be_read_is_told_and_passed_over(pictures: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    run = small_run()
    Path("p/broken.png").write_bytes(pictures[0].read_bytes()[:50])
    told: list[ZooError] = []
    found = list(run.predictions(["p", "nowhere.png"], failed=told.append))

    assert [each.file for each in found] == [str(path) for path in pictures]
    assert [type(each) for each in told] == [NotFoundError, DataError]
    assert "p/broken.png" in str(told[1])
    assert caplog.records == []
    assert len(run.predict("p")) == len(pictures)
    assert "Passed over: p/broken.png" in caplog.text


def test_where_nothing_can_be_read_it_is_an_error(pictures: list[Path]) -> None:
    run = small_run()
    Path("bad").mkdir()
    for number in range(2):
        Path(f"bad/{number}.png").write_bytes(b"no picture")
    for inputs, kind, words in (
        ("bad/0.png", DataError, "bad/0.png is no picture"),
        ("bad", DataError, "None of the 2 inputs"),
        (["x.png", "y.png"], NotFoundError, "x.png"),
        (["bad/0.png", "x.png"], DataError, "None of the 2"),
    ):
        with pytest.raises(kind, match=words):
            run.predict(inputs)
    Path("empty").mkdir()
    with pytest.raises(NotFoundError, match="No pictures under empty"):
        run.predict("empty")
    assert run.predict([]) == []


def test_the_most_probable_classes() -> None:
    run = small_run()
    (each,) = run.predict(digit(0)[None, ..., None], top_k=3)

    assert each.file == "0"
    assert each.top[0] == (each.label, each.probability)
    assert [value for _, value in each.top] == sorted(each.probabilities, reverse=True)[:3]
    assert len(run.predict(digit(0)[None, ..., None], top_k=99)[0].top) == 10
    assert run.predict(np.empty((0, 8, 8, 1), np.uint8)) == []


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_a_file_of_rows_says_what_the_array_says(suffix: str) -> None:
    run = small_run("regression")
    x = np.random.default_rng(1).standard_normal((300, 4)).astype(np.float32)
    path = Path(f"rows{suffix}")
    if suffix == ".npy":
        np.save(path, x)
    elif suffix == ".npz":
        np.savez(path, x=x, y=np.zeros(300))
    else:
        lines = [",".join(f"{value:.9g}" for value in row) for row in x]
        path.write_text("\n".join(["a,b,c,d", *lines, ""]))
    found, expected = run.predict(path), run.predict(x)

    assert [each.file for each in found[:2]] == [f"rows{suffix}:0", f"rows{suffix}:1"]
    assert len(found) == 300
    np.testing.assert_allclose([each.values for each in found], [each.values for each in expected], rtol=1e-6)
    plain = keras.models.load_model(run.path / "model.keras")
    np.testing.assert_allclose([each.values for each in found], np.asarray(plain(x)), rtol=1e-5)


def test_values_in_the_unit_of_the_data() -> None:
    run = small_run("regression")
    (each,) = run.predict(np.zeros((1, 4), np.float32))

    assert (run.task, run.score_name) == ("regression", "mae")
    assert 800 < each.values[0] < 1200
    assert (each.label, each.probability, each.probabilities) == (f"{each.values[0]:.7g}", None, ())
    assert "mae=" in repr(run)
    with pytest.raises(UsageError, match="values, and no classes"):
        run.predict(np.zeros((1, 4), np.float32), top_k=1)


def test_labels_above_a_threshold() -> None:
    run = small_run("multilabel")
    x = np.random.default_rng(2).standard_normal((5, 4)).astype(np.float32)
    for threshold in (0.0, 0.4, 0.5):
        for each in run.predict(x, threshold=threshold):
            above = [name for name, p in zip(run.classes, each.probabilities, strict=True) if p > threshold]
            assert list(each.labels) == above
            assert each.label == "|".join(above)
    sure = Wanted(("a", "b"), "multilabel").named("x", np.array([0.9, 0.3], np.float32))
    assert (sure.label, round(sure.probability or 0, 6)) == ("a", 0.7)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "1,2,3,4\n1,2,3\n", "line 2: expected 4 numbers"),
        ("a.csv", "a,b,c,d\n1,2,x,4\n", "line 2"),
        ("a.csv", "1,2,nan,4\n", "line 1"),
        ("a.csv", "1,2\n", r"expects inputs \[n, 4\]; got \[1, 2\] in a.csv"),
        ("a.npy", "no array", "a.npy cannot be read as an array"),
        ("a.npz", "no archive", "a.npz is no .npz file"),
        ("a.png", "no picture", "give it a file of rows"),
    ],
)
def test_rows_that_are_none_are_refused(name: str, content: str, words: str) -> None:
    Path(name).write_text(content)
    with pytest.raises(DataError, match=words):
        small_run("regression").predict(name)


def test_a_pickle_among_arrays_is_never_opened() -> None:
    np.savez("a.npz", x=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UnsafeFileError, match="Python objects"):
        small_run("regression").predict("a.npz")


def test_arrays_that_do_not_fit_are_refused() -> None:
    run = small_run()
    with pytest.raises(DataError, match=r"expects inputs \[n, any, any, 1\]; got \[2, 8, 8, 3\]"):
        run.predict(np.zeros((2, 8, 8, 3)))
    with pytest.raises(DataError, match="not finite"):
        small_run("regression").predict(np.full((1, 4), np.nan))


def test_a_preprocessing_that_is_not_that_of_the_model_is_refused() -> None:
    run = small_run()
    run.record["input"]["preprocessing"]["scale"] = 0.5
    with pytest.raises(IntegrityError, match="does not begin with the preprocessing"):
        run.predict(digit(0)[None, ..., None])


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_row_that_is_not_finite_refuses_its_file_before_any_is_told(suffix: str) -> None:
    rows = np.zeros((3000, 4), np.float32)
    rows[2500, 1] = np.nan
    np.save("rows.npy", rows) if suffix == ".npy" else np.savez("rows.npz", x=rows)
    with pytest.raises(DataError, match="row 2500"):
        small_run("regression").predict(f"rows{suffix}")


def test_a_folder_is_looked_through_as_for_training() -> None:
    for name in ("a/1.png", "a/.hidden/2.png", "a/@eaDir/3.png"):
        save_digit(Path(name), 1)
    assert [each.file for each in small_run().predict("a")] == ["a/1.png"]

"""The page of a run: complete, self-contained, safe against hostile names, and repeatable."""

from __future__ import annotations

import base64
import copy
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from made_up_reports import BINS, VARIANTS, history, photos, report, with_epoch
from PIL import Image

from zoo.runs import charts
from zoo.runs.report import Report, render_report

VOID = {"meta", "img", "br", "path", "polyline"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text += data


def text_of(page: Report) -> str:
    return " ".join(Page(render_report(page)).text.split())


@pytest.mark.parametrize("page", VARIANTS.values(), ids=VARIANTS)
def test_is_whole_self_contained_and_repeatable(page: Report) -> None:
    html = render_report(page)
    parsed = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "iframe", "object", "base", "form", "a"} & set(parsed.tags)
    assert all(value.startswith("data:image/") for _, name, value in parsed.attributes if name == "src")
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on") or name in ("href", "srcset")]
    assert "http://" not in html and "https://" not in html and "@import" not in html and "url(" not in html
    assert "default-src 'none'" in html
    assert "nan" not in re.findall(r"[\w.]+", re.sub(r"data:[^\"]*", "", html).lower())
    assert render_report(copy.deepcopy(page)) == html
    assert len(html.encode("utf-8")) < 400_000


def test_says_what_was_done_in_plain_words() -> None:
    text = text_of(report())
    assert "letters-cnn, reused for digits: 95.8 % of 240 test pictures right" in text
    assert "3 of 4 units reused, 2 of them frozen, 1 trained further; on top of them a new head for 10 classes." in text
    assert "zoo predict RUN photo.jpg" in text
    assert "591 found on disk, 0 computed" in text
    assert "differ by at most 2e-07" in text


def test_counts_no_total_where_the_record_has_only_reused_units() -> None:
    page = report()
    text = text_of(replace(page, record={**page.record, "units": page.record["units"][:3]}))
    assert "3 units reused, 2 of them frozen" in text and "Left out" not in text


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("scratch", "Both get equally many test pictures right"),
        ("everything trained", "none of them frozen, all trained further"),
        ("everything trained", "no features were kept"),
        ("nothing reused", "No unit was reused"),
        ("200 classes", "Most frequent confusions"),
        ("no validation", "there were no validation examples"),
        ("no mistakes", "There are none: the model got all 240 test pictures right"),
        ("rows", 'zoo.open_run("RUN").predict(rows)'),
        ("two channels", "Probability"),
        ("judged", "It has learned something: always naming the most frequent class would give 10.0 %."),
        ("judged", "give 95.5 %: the test does not show that training was worth it."),
        ("judged", "95 % interval 93.0 % to 98.0 %"),
        ("judged", "F1, mean over classes"),
        ("judged", "off by 4.0 % (expected calibration error); on the whole the model is surer than it should be"),
        ("judged", "Dividing its logits by 1.4"),
        ("judged", "Note: No example is of the class '11'."),
        ("labels", "labels of 240 test pictures found with an F1 of 83.0 %"),
        ("labels", "The test cannot tell it from guessing: naming the labels that most training pictures have"),
        ("labels", "a new head for 3 labels"),
        ("labels", "What it was least sure of"),
        ("labels", "<b>dog</b> 49 %"),
        ("values", "off by 3.21 on average, over 300 test pictures"),
        ("values", "always saying the mean would be off by 40.2"),
        ("values", "3,333 points more left out"),
        (
            "searched",
            "15 combinations trained, after 3 depths had been probed, in 12 s, judged on validation pictures alone by "
            "their loss; the time was over.",
        ),
        ("searched", "3 more combinations"),
        ("searched", "2 files that could not be read"),
        ("searched", "3 more warnings"),
        ("searched", "Where the time went"),
        ("nothing kept", "No epoch was better than what training began with"),
    ],
)
def test_says_what_is_special(variant: str, said: str) -> None:
    assert said in text_of(VARIANTS[variant])


@pytest.mark.parametrize(
    ("right", "said"),
    [
        (23, "The reused net gets 2 more test pictures right"),
        (27, "From random weights it gets 2 more test pictures right"),
        (0, "more than chance would make"),
    ],
)
def test_compares_fairly(right: int, said: str) -> None:
    page = report(["a", "b"], scratch=history(400))
    for part, hits in ((page.record["metrics"], 25), (page.record["scratch"]["metrics"], right)):
        part["test"] |= {"confusion": [[hits, 30 - hits], [0, 30]]}
    alone = {"reused": max(25 - right, 0) + 1, "scratch": max(right - 25, 0) + 1}
    page.record["scratch"]["right_in_one_only"] = alone  # 3 against 1 can be chance, 26 against 1 cannot
    text = text_of(page)
    assert said in text
    assert ("can be chance" in text) == (right != 0)


def test_hostile_names_are_text() -> None:
    html = render_report(VARIANTS["hostile names"])
    parsed = Page(html)
    assert "script" not in parsed.tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert(1)</script>" in parsed.text
    assert r"\u202eevil\u202c" in parsed.text
    assert not set(html) & set("\u202e\u202c\0\x1b\udcff")
    assert "קטן" in parsed.text
    html.encode("utf-8")


def shown(page: Report) -> list[Image.Image]:
    """Returns the pictures on the page."""
    uris = [value for tag, name, value in Page(render_report(page)).attributes if (tag, name) == ("img", "src")]
    return [Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1], validate=True))) for uri in uris]


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 20, 1), (1, 1, 3), (128, 128, 3)])
def test_small_pictures_decode_to_the_same_pixels(shape: tuple[int, ...]) -> None:
    page = photos(*shape)
    pictures = shown(page)
    assert len(pictures) == len(page.mistakes)
    for picture, mistake in zip(pictures, page.mistakes, strict=True):
        assert mistake.picture is not None
        assert np.array_equal(np.asarray(picture).reshape(shape), mistake.picture)


def test_large_pictures_are_reduced() -> None:
    assert [picture.size for picture in shown(photos(448, 896, 3))] == [(224, 112)] * 2


def test_the_page_needs_no_tensorflow() -> None:
    code = "import sys, zoo.runs.report; sys.exit('tensorflow' in sys.modules or 'jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_thinned_curves_keep_their_spikes() -> None:
    long = with_epoch(history(20_000), 777, val_loss=1e4)
    (loss, _) = charts.panels(long, None)
    line = next(line for line in loss.lines if line.part == "validation")
    assert len(line.points) <= 502
    assert max(y for _, y in line.points) > 98
    assert [x for x, _ in line.points] == sorted(x for x, _ in line.points)
    assert len(render_report(report(reused=long)).encode()) < 400_000


def test_phases_begin_half_an_epoch_before_their_first() -> None:
    (loss, accuracy) = charts.panels(history(30, phases=3), None)
    assert loss.phases == accuracy.phases
    assert [number for _, number in loss.phases] == [2, 3]
    assert [at for at, _ in loss.phases] == pytest.approx([100 * (10.5 - 1) / 29, 100 * (20.5 - 1) / 29], abs=0.01)


def test_bubbles_stand_where_bins_came_true() -> None:
    bubbles = charts.reliability(BINS)
    assert [bubble.count for bubble in bubbles] == [3, 20, 30, 90]
    assert [bubble.y for bubble in bubbles] == [33, 60, 70, 95]
    assert max(bubble.width for bubble in bubbles) == bubbles[-1].width
    assert charts.reliability([]) == ()


def test_scatter_has_one_scale_and_few_points() -> None:
    true = np.linspace(0, 10, 10_000)
    plot = charts.scatter(true, true)
    assert all(x == y for x, y in plot.points)
    assert len(plot.points) == 2000 and plot.left_out == 8000
    assert charts.scatter(np.full(3, 7.0), np.full(3, 7.0)).points == ((50, 50),) * 3
    assert charts.scatter(np.array([np.nan, 1]), np.array([1, 1.0])).left_out == 1


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (charts.Axis(1, 2), [1.0, 1.5, 2.0]),
        (charts.Axis(0, 1), [0.0, 0.5, 1.0]),
        (charts.Axis(0.3, 20, log=True), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]),
        (charts.Axis(1e-6, 20, log=True), [1e-6, 1e-4, 1e-2, 1.0]),
    ],
)
def test_ticks_are_round(axis: charts.Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)
    assert all(0 <= axis.at(tick) <= 100 for tick in axis.ticks())


def test_figures_that_are_not_finite_are_left_out() -> None:
    broken = with_epoch(with_epoch(history(5), 4, val_loss=float("nan")), 3, loss=float("inf"))
    (loss, _) = charts.panels(broken, None)
    assert sorted(len(line.points) for line in loss.lines) == [4, 4]

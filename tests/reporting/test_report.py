"""The page of a run: what it shows is what the files say, whatever of them is there."""

import json
import pathlib
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest

from racl_tf.errors import UsageError
from racl_tf.reporting import find_runs, render_report
from racl_tf.space import select_genotype

Make = Callable[..., pathlib.Path]
FILES = (
    *("search/architecture.jsonl", "search/steps.csv", "search/history.csv", "search/genotype.json"),
    *("train/history.csv", "train/finished.json", "evaluate/results.json", "evaluate/outcomes.npz"),
    *("evaluate/adversarial.npz", "search/versions.json", "search/summary.json", "train/config.json"),
    "choose/choice.json",
)


class Tags(HTMLParser):
    """The tags of a page, which of them are open, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "input", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def page_of(*folders: pathlib.Path) -> str:
    return render_report(find_runs(folders))


def test_a_page_is_whole_and_needs_nothing_else(make_run: Make) -> None:
    page = page_of(make_run())
    tags = Tags(page)
    assert tags.open == []
    assert [tag for tag, _ in tags.all if tag in ("link", "iframe", "object", "base", "form")] == []
    sources = [value for _, found in tags.all for name, value in found.items() if name in ("src", "href", "srcset")]
    assert sources
    assert all(source and source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"url\(|@import|https?:", page)


def test_names_are_text_wherever_they_stand(make_run: Make) -> None:
    page = page_of(make_run())
    assert [found for tag, found in Tags(page).all if tag == "script"] == [{"type": "application/json"}, {}]
    assert "alert('x')" not in page
    assert "<script>alert('x')</script>&\"" in "".join(Tags(page).text)


def test_the_same_folder_gives_the_same_page(make_run: Make, tmp_path: pathlib.Path) -> None:
    run = make_run()
    before = page_of(run)
    shutil.move(run, tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rename(run)
    assert page_of(run) == before


def test_the_slider_has_the_cells_of_every_epoch(make_run: Make) -> None:
    run = make_run()
    tags = Tags(page_of(run))
    entries = [json.loads(line) for line in (run / "search/architecture.jsonl").read_text().splitlines()]
    frames = [found for tag, found in tags.all if tag == "div" and "frame" in str(found.get("class")).split()]
    assert [(frame["data-first"], frame["data-last"]) for frame in frames] == [(str(i), str(i)) for i in range(1, 5)]
    assert ["hidden" in frame for frame in frames] == [True, True, True, False]
    drawn = [
        str(found["aria-label"]) for tag, found in tags.all if tag == "svg" and " cell: " in str(found["aria-label"])
    ]
    drawn = [label.split(" cell: ", 1)[1] for label in drawn if "->" in label]
    expected = []
    for entry in entries:
        genotype = select_genotype(np.array(entry["mu_alpha"]) + np.array(entry["mu_beta"])[..., None])
        expected += [str(genotype.normal), str(genotype.reduce)]
    assert drawn == expected
    (data,) = (json.loads(text) for text in tags.text if text.startswith('{"epochs"'))
    weights = np.array(data["strengths"]).reshape(4, 2, 14, 7) * data["limit"] / 100
    raw = np.array(entries[2]["mu_alpha"][1])[:, 1:] + np.array(entries[2]["mu_beta"][1])[:, None]
    np.testing.assert_allclose(weights[2, 1, :2], raw[:2] - raw[:2].mean(), atol=0.006 * data["limit"])


def test_the_figures_are_those_of_the_files(make_run: Make) -> None:
    text = " ".join("".join(Tags(page_of(make_run())).text).split())
    for shown in (
        "Pr[λF ≤ λ*] is 75.0%, wanted at least 90%.",
        "75.0% (30.0 to 95.0)",
        "The network of epoch 3 is kept.",
        "image 1: cat, taken for <script>",
        "magnified 5.0 times",
        "4 of 4",
        "1.9000 of 1.9459 nats",
        "This search is not to be relied on: <script>",
        "2 min 0 s",
        "2 different ones of 8",
        "1 (median)350.0%75.0% (30.0 to 95.0)75.0% (30.0 to 95.0)1.5",
        "Mean error over 1 corruptions: 55.0%.",
        "search.warmup_epochs",
    ):
        assert shown in text, shown
    assert "search.eta" not in text  # which is the paper's


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]\n", b"\xff\x00", b"epoch,step\n1\n", b'{"epoch": 1}\n'])
def test_nothing_fails_for_a_file(make_run: Make, file: str, content: bytes | None) -> None:
    run = make_run()
    if content is None:
        (run / file).unlink()
    else:
        (run / file).write_bytes(content)
    page = page_of(run)
    assert Tags(page).open == []
    if content is not None and not content.isascii() and file != "search/genotype.json":  # which the epochs tell too
        assert re.search(rf'<div class="notes">\s*<p>[^<]*{file}', page)


def test_an_unfinished_run_says_so(make_run: Make) -> None:
    run = make_run(epochs=2, finished=False)
    text = "".join(Tags(page_of(run)).text)
    assert "unfinished: 2 of 4 epochs" in text
    assert "finished" not in text.replace("unfinished", "")
    for path in sorted(run.rglob("*"), reverse=True):
        if path.name not in ("config.json", "search", "train", "evaluate"):
            path.unlink()
    assert "unfinished" in page_of(run)


def test_several_runs_are_shown_side_by_side(make_run: Make) -> None:
    one, other = make_run("one"), make_run("other", epochs=3, finished=False)
    page = page_of(one, other)
    assert page == page_of(one.parent)
    headings = re.findall(r'<div class="panel">\s*<h3>(.*?)</h3>', page)
    assert headings[:4] == ["one", "other", "one", "other"]
    assert headings.count("one") > headings.count("other") > 3


def test_a_step_is_a_run_of_its_own(make_run: Make) -> None:
    page = page_of(make_run() / "evaluate")
    assert "Accuracy under attack" in page
    assert "How the search went" not in page


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_a_folder_without_a_run_is_refused(folder: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty/inner").mkdir(parents=True)
    with pytest.raises(UsageError, match="Give the --workdir of a run"):
        find_runs([tmp_path / folder])

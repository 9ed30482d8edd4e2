"""The program of reports: where it writes, what it refuses, and the page in a browser."""

import html
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from racl_tf.errors import UsageError
from racl_tf.files import write_json, write_text
from racl_tf.runs.report import run_report
from racl_tf.space import OPERATIONS, random_genotype

ROOT = pathlib.Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def run_folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A search of three epochs, each with other cells."""
    folder = tmp_path / "run"
    write_json(folder / "search/config.json", {"seed": 0, "search": {"eta": 0.9, "constraint_update": "proximal"}})
    entries = []
    for epoch in range(3):
        alpha = [[[float(epoch + edge - operation) for operation in range(len(OPERATIONS))] for edge in range(14)]] * 2
        genotype = str(random_genotype(epoch))
        entries.append({"epoch": epoch + 1, "genotype": genotype, "mu_alpha": alpha, "mu_beta": [[0.0] * 14] * 2})
    write_text(folder / "search/architecture.jsonl", "".join(f"{json.dumps(entry)}\n" for entry in entries))
    steps = ["epoch,step,mu_F,sigma_F,constraint,probability,theta"]
    steps += [f"{epoch},{step},3,0.1,{0.1 * step},0.8,0.01" for epoch in (1, 2, 3) for step in (1, 2)]
    write_text(folder / "search/steps.csv", "\n".join(steps) + "\n")
    return folder


def test_a_report_lies_in_the_first_folder_and_is_written_anew(run_folder: pathlib.Path) -> None:
    path = run_report([str(run_folder), str(run_folder)])
    assert path == run_folder / "report.html"
    first = path.read_text()
    assert run_report([str(run_folder)]).read_text() != first
    assert run_report([str(run_folder), str(run_folder)]).read_text() == first
    other = run_report([str(run_folder)], str(run_folder / "new" / "mine.html"))
    assert other.name == "mine.html"


@pytest.mark.parametrize("content", [b"<!doctype html>\nmine", b"\xff\xfe", b""])
def test_what_is_no_report_is_not_overwritten(run_folder: pathlib.Path, content: bytes) -> None:
    path = run_folder / "report.html"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"is not a report that this program wrote\. Give another file: --out="):
        run_report([str(run_folder)])
    assert path.read_bytes() == content


def test_the_program_reports_and_ends_mistakes_in_one_paragraph(
    run_folder: pathlib.Path, run: Callable, call: Callable
) -> None:
    result = run("report", str(run_folder))
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"Written to {run_folder}/report.html, which any browser shows.\n"
    for arguments, expected in (
        ([], "arguments are required: WORKDIR"),
        ([str(run_folder), "--outt=x"], "Unrecognized arguments: --outt=x"),
        ([str(run_folder / "missing")], "There is no folder"),
        ([str(run_folder), f"--out={run_folder}"], "is not a report"),
    ):
        refused = call("report", *arguments)
        assert refused.returncode == 1
        assert refused.stderr.startswith("Error: ")
        assert expected in " ".join(refused.stderr.split())
        assert "\n\n" not in refused.stderr


_PROBE = """<script>
window.addEventListener("load", () => {
  const slider = document.querySelector("input[type=range]"), found = [];
  for (const value of [0, 1, 2]) {
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
    const shown = [...document.querySelectorAll(".frame")].filter(frame => frame.offsetHeight > 0);
    const place = document.querySelector("[data-place] title");
    found.push([shown.length, shown[0].querySelector("svg").getAttribute("aria-label"), place.textContent]);
  }
  const sizes = [...document.querySelectorAll("svg text")].map(text => text.getBoundingClientRect().height);
  parent.document.body.dataset.found = JSON.stringify({frames: found, width: document.documentElement.scrollWidth,
    window: window.innerWidth, output: document.querySelector("output").textContent,
    requests: performance.getEntriesByType("resource").length, least: Math.min(...sizes.filter(size => size > 0))});
});
</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_in_a_browser_the_page_fits_a_phone_and_its_slider_moves(run_folder: pathlib.Path) -> None:
    page = run_report([str(run_folder)])
    probe = page.with_name("probe.html")  # in a frame, since a window has a least width
    inner = html.escape(page.read_text().replace("</body>", _PROBE))
    probe.write_text(
        f'<!doctype html><body><iframe width="390" height="844" frameborder="0" srcdoc="{inner}"></iframe>'
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command = [str(CHROMIUM), *options, f"--user-data-dir={run_folder}/browser", "--dump-dom", probe.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" not in shown.stderr
    (found,) = re.findall(r'data-found="([^"]*)"', shown.stdout)
    record = json.loads(html.unescape(found))
    assert record["window"] == 390
    assert record["width"] <= 390
    assert record["requests"] == 0
    assert record["least"] > 9  # pixels
    assert record["output"] == "epoch 3 of 3"
    expected = [f"normal cell: {random_genotype(epoch).normal}" for epoch in range(3)]
    assert [label for _, label, _ in record["frames"]] == expected
    assert [count for count, _, _ in record["frames"]] == [1, 1, 1]
    assert len({value for _, _, value in record["frames"]}) == 1  # mu moved in common, which selects nothing


def test_the_programs_name_the_report(tmp_path: pathlib.Path) -> None:
    """At the one place where programs end."""
    code = (
        "import sys; sys.argv = ['search', '--workdir=a b']; from racl_tf.runs.command_line import run_program; "
        "run_program(lambda *_: print('done'), '', steps=('search',))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.stdout == "done\nTo look at it: racl-report 'a b'\n"

"""Drawings of genotypes from wherever they are kept."""

import pathlib
import re
import xml.etree.ElementTree
from collections.abc import Callable

import pytest
from PIL import Image

from racl_tf.errors import UsageError
from racl_tf.reporting import to_dot
from racl_tf.runs.draw import find_genotype, run_drawing
from racl_tf.space import GENOTYPES, random_genotype


def test_each_format_holds_the_genotype(tmp_path: pathlib.Path) -> None:
    with Image.open(run_drawing("racl", str(tmp_path / "new/cell.png"))) as image:
        assert image.format == "PNG"
    svg = xml.etree.ElementTree.parse(run_drawing("PC-DARTS", str(tmp_path / "cell.svg")))
    assert svg.getroot().tag.endswith("svg")
    dot = run_drawing("darts", str(tmp_path / "cell.DOT")).read_text()
    assert dot == to_dot(GENOTYPES["darts"])
    edges = re.findall(r'normal_(\d) -> normal_(\d) \[label="(\w+)"\]', dot)
    kept = [
        (str(e.source), str(node), e.operation)
        for node, es in enumerate(GENOTYPES["darts"].normal.nodes, 2)
        for e in es
    ]
    assert edges == kept


def test_a_run_has_its_chosen_then_its_searched_then_its_trained_genotype(tmp_path: pathlib.Path) -> None:
    for seed, step in enumerate(("train", "search", "choose")):
        random_genotype(seed).save(tmp_path / step / "genotype.json")
        assert find_genotype(str(tmp_path)) == random_genotype(seed)
        assert find_genotype(str(tmp_path / step)) == random_genotype(seed)
    assert find_genotype(str(tmp_path / "train/genotype.json")) == random_genotype(0)


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        ("dart", "cell.png", "Did you mean 'darts'"),
        ("no/such/folder", "cell.png", "There is no genotype 'no/such/folder'"),
        ("missing.json", "cell.png", "Cannot read a genotype"),
        (".", "cell.png", "holds no genotype"),
        ("racl", "cell.jpg", "Unknown suffix .* Known: .png, .svg, .dot"),
        ("racl", "cell", "Unknown suffix"),
        ("racl", "file/cell.png", "cannot be written"),
    ],
)
def test_mistakes_are_said(
    name: str, out: str, message: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=message):
        run_drawing(name, out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_program_draws(run: Callable, call: Callable, tmp_path: pathlib.Path) -> None:
    result = run("draw", "racl", f"--out={tmp_path}/cell.dot")
    assert (result.returncode, result.stdout) == (0, f"Written to {tmp_path}/cell.dot.\n")
    assert (tmp_path / "cell.dot").read_text().startswith("digraph")
    assert "GENOTYPE" in call("draw", "--help").stdout

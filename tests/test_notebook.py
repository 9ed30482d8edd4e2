"""The tutorial as it stands there, at a small size, and the outputs that it is kept with."""

import pathlib
import re

import nbformat
import pytest
from nbclient import NotebookClient

PATH = pathlib.Path(__file__).parents[1] / "docs/tutorial.ipynb"
SMALL = """
train_size, test_size = 256, 32
channels, cells = 4, 3
search_epochs, warmup_epochs, train_epochs = 2, 1, 1
check_images = 10
eps, step_size = 0.1, 0.025
folder = pathlib.Path("runs")
"""


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(PATH, as_version=4)


@pytest.mark.slow
def test_it_runs(notebook: nbformat.NotebookNode, tmp_path: pathlib.Path) -> None:
    (sizes,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert re.findall(r"^.*? =", sizes.source, re.MULTILINE) == re.findall(r"^.*? =", SMALL, re.MULTILINE)
    sizes.source = SMALL
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "runs/saved_model/saved_model.pb").exists()


def test_its_outputs_are_of_one_whole_run_and_small(notebook: nbformat.NotebookNode) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not any(output.output_type == "error" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
    assert PATH.stat().st_size < 500_000

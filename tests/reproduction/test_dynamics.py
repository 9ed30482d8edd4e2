"""How searches move, from what they logged to the page."""

import json
import pathlib

import pytest

from racl_tf import file_names
from racl_tf.files import write_json, write_table
from racl_tf.reproduction.dynamics import COLUMNS, Course, courses_of, courses_table, dynamics, plot_courses

LOGGED = {
    "mu_alpha_relative": 0.25,
    "mu_alpha_common": -0.1,
    "mu_beta_relative": 0.5,
    "mu_beta_common": 0.125,
    "entropy_alpha": 1.9,
    "sigma_alpha": 0.09,
    "sigma_beta": 0.03,
    "reduction": 4.0,
    "reduction_by_choice": 1.5,
    "reachable": 20.0,
    "log_norm_selected": 0.5,
    "log_norm_rejected": 1.5,
    "draws_agree": 0.75,
}


def write_search(folder: pathlib.Path, *, constrained: bool) -> None:
    """Writes what a search of three epochs of five steps leaves, the first a warm-up; c falls from 10 to 1."""
    folder.mkdir(parents=True)
    entries = [{"epoch": epoch, "genotype": "", **LOGGED} for epoch in (1, 2, 3)]
    (folder / file_names.ARCHITECTURE).write_text("\n".join(map(json.dumps, entries)) + "\n")
    history = [{"epoch": str(epoch), "architecture_loss": "" if epoch == 1 else "1.5"} for epoch in (1, 2, 3)]
    write_table(folder / file_names.HISTORY, history)
    steps = []
    for index in range(15):
        row = {"epoch": str(1 + index // 5), "step": str(1 + index % 5), "mu_F": "1"}
        if constrained and index >= 5:
            row |= {"constraint": str(15.0 - index), "theta": str(0.01 * index)}
        steps.append(row)
    write_table(folder / file_names.STEPS, steps)
    gains = {"correlation": 0.64} if constrained else None
    write_json(folder / file_names.SUMMARY, {"norms_and_gains": gains})
    (folder / file_names.GENOTYPE).touch()


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    write_search(tmp_path / "free", constrained=False)
    write_search(tmp_path / "bound", constrained=True)
    return tmp_path


def test_the_course_of_a_search(folder: pathlib.Path) -> None:
    course = Course.read(folder / "bound")
    assert course.time.tolist() == pytest.approx([1.2, 1.4, 1.6, 1.8, 2, 2.2, 2.4, 2.6, 2.8, 3])
    assert course.steps["constraint"].tolist() == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    row = dict(zip(COLUMNS, course.row(), strict=True))
    assert (row["c"], row["largest |c|"], row["theta"]) == ("+1.00", "2.00", "0.14")
    assert (row["mu alpha relative"], row["entropy"], row["rank correlation"]) == ("0.250", "1.900", "+0.64")
    assert row["mu_F lowered by, by choice"] == "+4.00, +1.50 of 20.0"
    free = dict(zip(COLUMNS, Course.read(folder / "free").row(), strict=True))
    assert (free["c"], free["theta"], free["rank correlation"]) == ("", "", "")


def test_the_page_s_table_and_picture(folder: pathlib.Path) -> None:
    courses = {name: Course.read(folder / name) for name in ("free", "bound")}
    lines = courses_table(courses).splitlines()
    assert lines[0].startswith("| search | mu alpha relative | common |")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| free", "| bound"]
    plot_courses(courses, folder / "courses.png")
    assert (folder / "courses.png").stat().st_size > 10_000


def test_every_way_on_every_data_set_and_only_what_is_finished(folder: pathlib.Path) -> None:
    figure = dynamics(("cifar10", "mnist"), ())
    assert len(figure.systems) == 2 * 8
    folders = {place: folder / "unfinished" for place in figure.systems}
    folders["mnist", "unconstrained"] = folder / "free"
    assert {name: list(courses) for name, courses in courses_of(figure, folders)} == {
        "cifar10": [],
        "mnist": ["unconstrained"],
    }

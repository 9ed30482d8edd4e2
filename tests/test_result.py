"""The shape that all results share: a record for programs, a file, and a text for people."""

import inspect
import json
import pathlib

import numpy as np
import pytest

from racl_tf.attacks import fgsm
from racl_tf.evaluation import (
    AttackOutcomes,
    CorruptionErrors,
    Evaluation,
    MaskingCheck,
    MaskingReport,
    Sweep,
    Transfer,
)
from racl_tf.files import read_table
from racl_tf.reporting import Measured, PaperTable
from racl_tf.reproduction.spread import Spread
from racl_tf.reproduction.study import Outcome
from racl_tf.reproduction.study_report import Study
from racl_tf.result import Result, TableResult
from racl_tf.runs.dry_run import DryRun
from racl_tf.search.sampling_result import SampledArchitecture, SamplingResult
from racl_tf.search.summary import SearchSummary
from racl_tf.space import GENOTYPES

ATTACK = fgsm(0.1)


def outcome(correct: int) -> Outcome:
    rows = np.arange(4) < correct
    return Outcome({"clean": rows, "fgsm": rows}, {}, {"ln surrogate, matrix": float(correct)}, "cell", 1.0, "")


SEARCHED = dict.fromkeys(
    [
        *(f"mu_{weights}_{way}" for weights in ("alpha", "beta") for way in ("relative", "common")),
        *("entropy_alpha", "reduction", "reduction_by_choice", "reachable"),
        *("log_norm_selected", "log_norm_rejected", "draws_agree"),
    ],
    0.5,
)
RESULTS: list[Result] = [
    Evaluation(
        np.zeros(3, np.int32),
        np.zeros(3, np.int32),
        2,
        {"fgsm": AttackOutcomes(np.array([1, 0, 0], np.int32), np.array([-1, 0, 1], np.int32))},
        {"fgsm": (ATTACK,)},
        seed=0,
    ),
    Sweep("eps", (0.1, 0.2), (2, 1), clean=3, images=3, attacks=(ATTACK,), seed=0),
    Transfer({"clean": {"a": 3}, "a": {"a": 1}}, 3, ATTACK, seed=0),
    CorruptionErrors({"fog": (3, 2, 2, 1, 0)}, 3, {"fog": (0.1, 0.2, 0.3, 0.4, 0.5)}),
    MaskingReport((MaskingCheck("noise", "fall to noise", 1, 3, 0.6, ""),), 3, 0.1, "linf", 0),
    SamplingResult(
        (SampledArchitecture(GENOTYPES["darts"], 1, True, 3, 2),), np.full([2, 14, 8], 1 / 8), 1, 3, ATTACK, 0
    ),
    PaperTable("Table 1", ("RACL",), ("Clean",), {("RACL", "Clean"): Measured(52.1, 49.0, 55.2)}, {}),
    SearchSummary(SEARCHED, steps=300, constraint=0.1, kept=0.875, epochs=5),
    Spread({3: {"clean": np.array([[0.9, 0.8], [0.7, 0.8]])}}, {3: 0.01}, (100, 120)),
    DryRun("training", 9, 9, 8, {"training": 4}, {"training": 0.5}, 1.0, 0.5, 0.0, 2, 10**9, 10**10, 10**6),
    Study({"random cells": (outcome(2), outcome(3)), "PC-DARTS": (outcome(1), outcome(2))}, "fgsm"),
]


def test_these_are_all_results() -> None:
    classes = {*Result.__subclasses__(), *TableResult.__subclasses__()}
    assert {type(result) for result in RESULTS} == {kind for kind in classes if not inspect.isabstract(kind)}


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_a_result_has_a_record_a_file_and_a_text(result: Result, tmp_path: pathlib.Path) -> None:
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert record
    assert str(result).endswith("\n")
    assert "<racl_tf" not in str(result)
    path = tmp_path / "new" / "file"
    result.save(path)
    if isinstance(result, TableResult):
        assert read_table(path) == [{name: str(value) for name, value in row.items()} for row in result.rows()]
        assert record["rows"] == result.rows()
    else:
        assert json.loads(path.read_text()) == record

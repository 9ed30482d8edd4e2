"""racl_tf and PC-DARTS's code as two processes that take turns."""

import sys
from typing import Any

from absl import flags

from benchmarks.program import Report
from benchmarks.timing import Worker
from racl_tf.space import Genotype

FLAGS = flags.FLAGS
flags.DEFINE_string("pcdarts", None, "A checkout of github.com/yuhuixu1993/PC-DARTS.")
flags.DEFINE_string("torch_python", None, "A Python interpreter that has PyTorch and NumPy.")

THEIRS = "PC-DARTS"


def for_pytorch(genotype: Genotype) -> dict[str, Any]:
    """Returns the fields of PC-DARTS's `Genotype`."""
    fields: dict[str, Any] = {}
    for kind, cell in {"normal": genotype.normal, "reduce": genotype.reduce}.items():
        fields |= {kind: [edge for node in cell.nodes for edge in node], f"{kind}_concat": cell.concat}
    return fields


def start(report: Report, *, ours: dict[str, Any], theirs: dict[str, Any] | None = None) -> dict[str, Worker]:
    """Returns the process "ours" and, if the flags name what it takes, "PC-DARTS", for cases of equal size."""
    workers = {"ours": Worker(sys.executable, "benchmarks.tensorflow_side", ours)}
    if FLAGS.pcdarts and FLAGS.torch_python:
        case = {**(theirs or ours), "checkout": FLAGS.pcdarts}
        workers[THEIRS] = Worker(FLAGS.torch_python, "benchmarks.pytorch_side", case)
    elif not report.skipped:
        report.skip(
            "PC-DARTS, without --pcdarts (git clone https://github.com/yuhuixu1993/PC-DARTS) and --torch_python "
            "(an interpreter after pip install torch numpy)."
        )
    return workers

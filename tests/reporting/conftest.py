"""A run's folder, written file by file as the steps write it, with names that are no good in HTML."""

import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from racl_tf.evaluation import CorruptionErrors
from racl_tf.files import write_arrays, write_json, write_table
from racl_tf.settings import paper_settings
from racl_tf.space import EDGES, OPERATIONS, select_genotype

EVIL = "<script>alert('x')</script>&\""


@pytest.fixture
def make_run(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    """Writes a run of some epochs, finished or not, and returns its folder."""

    def make(name: str = "run", *, epochs: int = 4, finished: bool = True) -> pathlib.Path:
        run, rng = tmp_path / name, np.random.default_rng(len(name))
        config = paper_settings()
        config.data.name, config.search.epochs, config.search.warmup_epochs = EVIL, 4, 1
        settings = json.loads(json.dumps(config.to_dict()))
        sections = {"search": ("search",), "train": ("train",), "evaluate": ("evaluate",)}
        sections |= {"choose": ("choose",)} if finished else {}
        for step, own in sections.items():
            kept = {key: settings[key] for key in ("seed", "mixed_precision", "data", "attack", *own)}
            write_json(run / step / "config.json", kept)
            write_json(run / step / "versions.json", {"keras": "3.10", "machine": EVIL})
        entries = []
        for epoch in range(epochs):
            alpha, beta = rng.normal(size=(2, len(EDGES), len(OPERATIONS))), rng.normal(size=(2, len(EDGES)))
            genotype = select_genotype(alpha + beta[..., None])
            sigma = {"sigma_alpha_entries": np.full(alpha.shape, 0.1), "sigma_beta_entries": np.full(beta.shape, 0.2)}
            arrays = {"mu_alpha": alpha, "mu_beta": beta, **sigma}
            lists = {key: value.tolist() for key, value in arrays.items()}
            entries.append({"epoch": epoch + 1, "genotype": str(genotype), **lists})
        (run / "search/architecture.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
        write_table(
            run / "search/steps.csv",
            [
                {"epoch": str(epoch + 1), "step": str(step + 1), "mu_F": "3", "sigma_F": "0.1"}
                | ({"constraint": f"{0.1 - step}", "probability": "0.75", "theta": "0.02"} if epoch else {})
                for epoch in range(epochs)
                for step in range(2)
            ],
        )
        rows = [
            {"epoch": str(epoch + 1), "seconds": "30", "loss": "2", "accuracy": "0.5", "choices_kept": "1"}
            for epoch in range(epochs)
        ]
        write_table(run / "search/history.csv", rows)
        if finished:
            genotype.save(run / "search/genotype.json")
            moved = {"mu_alpha_relative": 0.25, "mu_beta_relative": 0.5, "entropy_alpha": 1.9}
            summary = {"statistics": moved, "constraint": -0.9, "chose": True, "doubts": [EVIL]}
            write_json(run / "search/summary.json", summary)
            write_table(run / "train/history.csv", [row | {"val_accuracy": "0.4"} for row in rows])
            write_json(run / "train/finished.json", {"monitor": "val_accuracy", "best_epoch": 3, "value": 0.4})
            labels, predictions = np.array([0, 0, 1, 1], np.int32), np.array([0, 0, 1, 0], np.int32)
            steps = np.array([-1, 2, -1, -1], np.int32)
            outcomes = {"labels": labels, "predictions": predictions, "fgsm/passed": 0 * steps, "fgsm/steps": steps}
            write_arrays(run / "evaluate/outcomes.npz", outcomes)
            found = {"attack": np.array("fgsm"), "index": np.array([1], np.int32), "predicted": np.array([1], np.int32)}
            images = {"clean": np.full([1, 2, 2, 1], 0.5, np.float32), "adversarial": np.full([1, 2, 2, 1], 0.6)}
            write_arrays(run / "evaluate/adversarial.npz", found | images)
            figures = {"correct": 3, "accuracy": 0.75, "interval": [0.3, 0.95]}
            check = {"name": "noise", "measure": EVIL, "count": 4, "images": 4, "limit": 0.1, "meaning": EVIL}
            candidate = {"drawn": 3, "median": True, "agreement": 0.5, "clean": figures, "robust": figures}
            write_json(
                run / "choose/choice.json",
                {"samples": 8, "images": 4, "attack": {"kind": EVIL, "steps": 5}}
                | {"candidates": [candidate | {"lower": 1.5, "upper": None}, candidate | {"median": False}]},
            )
            corrupted = CorruptionErrors({EVIL: (3, 2, 2, 1, 1)}, images=4).to_dict()
            write_json(
                run / "evaluate/results.json",
                {"dataset": EVIL, "model": EVIL, "norm": "linf", "eps": 8 / 255, "images": 4, "classes": 2}
                | {"class_names": ["cat", EVIL], "results": {"clean": figures, "fgsm": figures, "worst_case": figures}}
                | {"masking": {"images": 4, "findings": [check | {"verdict": "suspicious"}]}}
                | {"corruptions": corrupted},
            )
        return run

    return make

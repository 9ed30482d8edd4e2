"""The entry of RobustBench's leaderboard, and each rule that an evaluation may miss."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from racl_tf.attacks import autoattack, pgd
from racl_tf.errors import UsageError
from racl_tf.files import write_json
from racl_tf.runs.robustbench import write_robustbench
from racl_tf.settings import paper_settings
from racl_tf.space import GENOTYPES

Change = Callable[[dict[str, Any]], object]


def results(eps: float = 8 / 255, norm: str = "linf") -> dict[str, Any]:
    """What an evaluation writes that fulfils all rules."""
    attacks = [attack.to_dict() | {"correct_after": 4321} for attack in autoattack(eps, norm)]
    figures = {"clean": {"accuracy": 0.8512}, "autoattack": {"accuracy": 0.4321, "attacks": attacks}}
    findings = [{"name": name, "verdict": "pass"} for name in ("zero gradients", "randomness", "noise")]
    record = {"dataset": "cifar10", "norm": norm, "eps": eps, "images": 10000, "results": figures}
    return record | {"masking": {"findings": findings}}


def write_run(folder: pathlib.Path, record: dict[str, Any], **changes: Any) -> None:
    config = paper_settings()
    config.update_from_flattened_dict(changes)
    settings = json.loads(json.dumps(config.to_dict()))
    for step in ("train", "evaluate"):
        write_json(folder / step / "config.json", {name: settings[name] for name in ("data", "attack", step)})
    GENOTYPES["racl"].save(folder / "train/genotype.json")
    write_json(folder / "evaluate/results.json", record)


def test_an_entry_has_the_fields_of_the_leaderboard(tmp_path: pathlib.Path) -> None:
    write_run(tmp_path, results(), **{"train.network": "racl", "train.channels": 16})
    path, by_hand = write_robustbench(str(tmp_path))
    assert path == tmp_path / "evaluate/robustbench.json"
    assert json.loads(path.read_text()) == {
        "link": "",
        "name": "",
        "authors": "",
        "additional_data": False,
        "number_forward_passes": 1,
        "dataset": "cifar10",
        "venue": "",
        "architecture": "racl, 20 cells of 16 channels",
        "eps": "8/255",
        "clean_acc": "85.12",
        "reported": "43.21",
        "autoattack_acc": "43.21",
        "unreliable": False,
    }
    assert by_hand == ["link", "name", "authors", "venue"]
    assert write_robustbench(str(tmp_path / "evaluate"), str(tmp_path / "other.json"))[1][3] == "additional_data"


def test_an_ensemble_a_sign_of_masking_and_l2_are_said(tmp_path: pathlib.Path) -> None:
    record = results(0.5, "l2")
    record["masking"]["findings"][2]["verdict"] = "suspicious"
    write_run(tmp_path, record, **{"train.defence": "adp", "attack.eps": 0.5, "attack.norm": "l2"})
    entry = json.loads(write_robustbench(str(tmp_path))[0].read_text())
    assert (entry["number_forward_passes"], entry["unreliable"], entry["eps"]) == (3, True, "0.5")


def test_what_was_trained_elsewhere_is_not_vouched_for(tmp_path: pathlib.Path) -> None:
    write_run(tmp_path, results(), **{"evaluate.model": "there/wide_resnet.keras"})
    path, by_hand = write_robustbench(str(tmp_path))
    entry = json.loads(path.read_text())
    assert (entry["architecture"], entry["additional_data"]) == ("wide_resnet", None)
    assert "additional_data" in by_hand


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.update(dataset="digits"), "data set must be cifar10 or cifar100, and is 'digits'"),
        (lambda record: record.update(images=1000), "entire test set of 10000 images must be attacked, and 1000 were"),
        (lambda record: record.update(eps=0.031), "ball must be linf 8/255 or l2 0.5, and is linf 0.031"),
        (lambda record: record.update(dataset="cifar100", norm="l2"), "ball must be linf 8/255, and is l2 0.03137"),
        (lambda record: record["results"].pop("autoattack"), "standard AutoAttack .* and nothing was made"),
        (lambda record: record["results"]["autoattack"]["attacks"].pop(), "and autoattack was made"),
        (lambda record: record["results"]["autoattack"]["attacks"][3].update(steps=100), "standard AutoAttack"),
        (lambda record: record.pop("masking"), "signs of gradient masking must have been looked for"),
        (lambda record: record["masking"]["findings"][0].update(verdict="suspicious"), "gradients .* not be zero"),
        (lambda record: record["masking"]["findings"][1].update(verdict="suspicious"), "must be deterministic"),
    ],
)
def test_each_rule_that_is_not_met_is_said(change: Change, message: str, tmp_path: pathlib.Path) -> None:
    record = results()
    change(record)
    write_run(tmp_path, record)
    with pytest.raises(UsageError, match=f"none for RobustBench: .*{message}"):
        write_robustbench(str(tmp_path))
    assert not (tmp_path / "evaluate/robustbench.json").exists()


@pytest.mark.parametrize("damage", [{"results": []}, {"masking": {"findings": [3]}}, {"results": {"clean": None}}])
def test_damaged_results_are_said(damage: dict[str, Any], tmp_path: pathlib.Path) -> None:
    write_run(tmp_path, results() | damage)
    with pytest.raises(UsageError, match=r"results\.json' is damaged"):
        write_robustbench(str(tmp_path))


def test_resized_images_are_not_the_test_set(tmp_path: pathlib.Path) -> None:
    write_run(tmp_path, results(), **{"data.image_size": 16})
    with pytest.raises(UsageError, match="were resized to 16"):
        write_robustbench(str(tmp_path))


def test_what_was_filled_in_stays(tmp_path: pathlib.Path, run: Callable) -> None:
    record = results()
    record["results"]["pgd20"] = {"accuracy": 0.5, "attacks": [pgd(8 / 255, 2 / 255, 20).to_dict()]}
    write_run(tmp_path, record)
    result = run("report", "--robustbench", str(tmp_path))
    path = tmp_path / "evaluate/robustbench.json"
    assert result.stdout == f"Written to {path}. To be filled in by hand: link, name, authors, venue.\n"
    assert json.loads(path.read_text())["autoattack_acc"] == "43.21"
    filled = path.read_text().replace('"link": ""', '"link": "https://arxiv.org"')
    path.write_text(filled)
    with pytest.raises(UsageError, match="holds something else"):
        write_robustbench(str(tmp_path))
    assert path.read_text() == filled


def test_a_folder_without_an_evaluation_is_refused(tmp_path: pathlib.Path) -> None:
    write_json(tmp_path / "search/config.json", {"seed": 0})
    with pytest.raises(UsageError, match="holds no single evaluation"):
        write_robustbench(str(tmp_path))
    write_json(tmp_path / "evaluate/config.json", {"seed": 0})
    with pytest.raises(UsageError, match="not finished"):
        write_robustbench(str(tmp_path))

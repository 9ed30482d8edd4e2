"""A user's own callbacks: told of every epoch, and mistakes in them said before anything is computed."""

import json
import pathlib
import re
import sys
import types

import keras
import pytest
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.runs.own_callbacks import load_callbacks
from racl_tf.runs.search import run_search
from racl_tf.runs.train import run_training
from racl_tf.settings import paper_settings

ROOT = pathlib.Path(__file__).parents[2]

TRACKING = """
import json, keras

def make_callbacks(config):
    config.search.epochs = 1000  # of the copy
    def note(epoch, logs):
        with open("noted.jsonl", "a") as file:
            file.write(json.dumps([config.data.name, epoch, sorted(logs)]) + "\\n")
    return keras.callbacks.LambdaCallback(on_epoch_end=note)

several = lambda config: [keras.callbacks.Callback(), keras.callbacks.Callback()]
empty = lambda config: []
number = lambda config: 3
mixed = lambda config: [keras.callbacks.Callback(), "text"]
nothing = lambda config: None
def fails(config):
    raise KeyError("project")
"""


@pytest.fixture
def own_module(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A module in the folder that a program is run in."""
    (tmp_path / "own_tracking.py").write_text(TRACKING)
    (tmp_path / "own_broken.py").write_text("import not_there")
    monkeypatch.chdir(tmp_path)
    for name in ("own_tracking", "own_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def with_callbacks(name: str) -> ConfigDict:
    config = paper_settings()
    config.callbacks = name
    return config


@pytest.mark.usefixtures("own_module")
def test_a_function_returns_one_or_several() -> None:
    path = list(sys.path)
    assert load_callbacks(paper_settings()) == []
    assert len(load_callbacks(with_callbacks("own_tracking:several"))) == 2
    assert load_callbacks(with_callbacks("own_tracking:empty")) == []
    config = with_callbacks("own_tracking:make_callbacks")
    (callback,) = load_callbacks(config)
    assert isinstance(callback, keras.callbacks.Callback)
    assert config.search.epochs == 50
    assert sys.path == path


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_tracking", "must be module:function"),
        ("own_tracking:", "must be module:function"),
        ("own tracking:make", "must be module:function"),
        ("not_there_at_all:make", "cannot be imported: ModuleNotFoundError: .* PYTHONPATH"),
        ("own_broken:make", "cannot be imported: ModuleNotFoundError: No module named 'not_there'"),
        ("own_tracking:make", "no function 'make' .* It has: .*make_callbacks"),
        ("own_tracking:json", "no function 'json'"),
        ("own_tracking:number", "Received: int"),
        ("own_tracking:mixed", "Received: str"),
        ("own_tracking:nothing", "Received: NoneType"),
        ("own_tracking:fails", "failed: KeyError: 'project'"),
    ],
)
def test_mistakes_are_said_before_any_work(name: str, message: str, config: ConfigDict, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=message):
        load_callbacks(with_callbacks(name))
    config.callbacks, config.train.network = name, "racl"
    with pytest.raises(UsageError, match=message):
        run_training(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_search_tells_them_of_every_epoch(own_module: pathlib.Path, config: ConfigDict) -> None:
    config.callbacks = "own_tracking:make_callbacks"
    run_search(config, str(own_module / "run"))
    noted = [json.loads(line) for line in (own_module / "noted.jsonl").read_text().splitlines()]
    assert [(name, epoch) for name, epoch, _ in noted] == [("digits", 0), ("digits", 1)]
    assert {"loss", "theta", "mu_alpha_relative"} <= set(noted[0][2])
    assert json.loads((own_module / "run/config.json").read_text())["callbacks"] == config.callbacks
    assert "callbacks" not in json.loads((own_module / "run/search/config.json").read_text())


def test_the_page_s_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for the trackers, which are not installed."""
    (example,) = re.findall(r"`tracking.py`:\n\n```python\n(.*?)```", (ROOT / "docs/runs.md").read_text(), re.DOTALL)
    told: list = []
    integration = types.SimpleNamespace(WandbMetricsLogger=keras.callbacks.Callback)
    modules = {
        "wandb": types.SimpleNamespace(init=lambda **given: told.append(given["project"])),
        "wandb.integration": types.SimpleNamespace(keras=integration),
        "wandb.integration.keras": integration,
        "mlflow": types.SimpleNamespace(
            start_run=lambda run_name: told.append(run_name), log_metrics=lambda logs, step: told.append((logs, step))
        ),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    names: dict = {}
    exec(example, names)
    assert isinstance(names["weights_and_biases"](paper_settings()), keras.callbacks.Callback)
    names["mlflow_run"](paper_settings()).on_epoch_end(3, {"loss": 1.0})
    assert told == ["racl", "cifar10, seed 0", ({"loss": 1.0}, 3)]

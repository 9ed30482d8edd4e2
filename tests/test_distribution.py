"""The strategies by name, what is refused before anything is computed, and the places of images over replicas."""

import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from racl_tf.distribution import ALL, WORKERS, Share, _resolver, make_strategy, places_in_batch
from racl_tf.errors import UsageError
from racl_tf.settings import check_settings, paper_settings

CLUSTER = {"worker": ["localhost:2222", "localhost:2223"]}


def test_one_device_and_what_is_chosen_by_itself() -> None:
    assert make_strategy("one_device") is tf.distribute.get_strategy()
    assert make_strategy() is make_strategy("auto")
    gpus = tf.config.list_logical_devices("GPU")
    assert make_strategy("auto").num_replicas_in_sync == max(len(gpus), 1)


def test_mirrored_takes_logical_cpus_where_there_are_no_gpus() -> None:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    assert make_strategy("mirrored").num_replicas_in_sync == len(devices)


def test_unknown_strategies_suggest() -> None:
    with pytest.raises(UsageError, match=r"Unknown strategy 'multiworker'\. Did you mean 'multi_worker'"):
        make_strategy("multiworker")
    config = paper_settings()
    config.strategy = "mirored"
    with pytest.raises(UsageError, match="Did you mean 'mirrored'"):
        check_settings(config)


def test_several_processes_have_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TF_CONFIG", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=r"neither TF_CONFIG nor Slurm's variables\. Start the program by srun, or"):
        make_strategy("multi_worker")
    monkeypatch.setenv("SLURM_PROCID", "0")
    with pytest.raises(UsageError, match=r"Slurm's variables name no cluster"):
        make_strategy("multi_worker")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "names no cluster"),
        ({}, "names no cluster"),
        (
            {"cluster": {"ps": ["localhost:1"]}, "task": {"type": "ps", "index": 0}},
            "names no cluster of the jobs chief",
        ),
        ({"cluster": {"worker": "localhost:1"}, "task": {"type": "worker", "index": 0}}, "a list of addresses"),
        ({"cluster": {"worker": ["localhost"]}, "task": {"type": "worker", "index": 0}}, "a list of addresses"),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}, "the same address"),
        ({"cluster": CLUSTER}, "which task of the cluster this process is"),
        ({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}, "which task of the cluster this process is"),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}, "a number that its job 'worker' does not have"),
        (
            {"cluster": CLUSTER, "task": {"type": "worker", "index": "0"}},
            "a number that its job 'worker' does not have",
        ),
    ],
)
def test_a_wrong_tf_config_is_refused(content: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UsageError, match=rf"TF_CONFIG .*{message}.*Received: .*It has to be such as"):
        make_strategy("multi_worker")


def test_slurm_s_variables_name_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    variables = {"PROCID": "2", "STEP_NUM_TASKS": "4", "STEP_NODELIST": "n[1-2]", "STEP_TASKS_PER_NODE": "2(x2)"}
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    resolver = _resolver()
    addresses = [f"n{node}:{port}" for node in (1, 2) for port in (8888, 8889)]
    assert resolver.cluster_spec().as_dict() == {"worker": addresses}
    assert (resolver.task_type, resolver.task_id) == ("worker", 2)


def test_several_processes_come_before_any_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert float(tf.constant(1.0)) == 1
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 0}}))
    with pytest.raises(UsageError, match="before TensorFlow has computed anything"):
        make_strategy("multi_worker")


def test_a_process_alone_takes_all_and_waits_for_nobody() -> None:
    assert (WORKERS.index, WORKERS.count, WORKERS.is_chief) == (0, 1, True)
    assert WORKERS.share(7) == ALL == Share(0, 1, 1)
    np.testing.assert_array_equal(WORKERS.sum([1, 2]), [1, 2])
    WORKERS.wait()


def test_places_count_the_images_of_the_replicas_before(two_replicas: tf.distribute.Strategy) -> None:
    counts = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant([4, 3][context.replica_id_in_sync_group])
    )
    found = two_replicas.run(tf.function(places_in_batch), (counts,))
    places, sizes = (two_replicas.experimental_local_results(values) for values in found)
    assert [list(each.numpy()) for each in places] == [[0, 1, 2, 3], [4, 5, 6]]
    assert [int(size) for size in sizes] == [7, 7]
    assert places_in_batch(tf.constant(3))[0].numpy().tolist() == [0, 1, 2]

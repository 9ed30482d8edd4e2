"""On which devices and by how many processes a run computes, so that its numbers are those of one device.

A process that works alone is the chief of one. `make_strategy("multi_worker")` joins the processes that TF_CONFIG or
Slurm's variables name; from then on `WORKERS` says which of them this one is.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from racl_tf.errors import UsageError, reason_of, unknown
from racl_tf.settings import STRATEGIES

#: Seconds without a sign of life after which a process counts as ended.
LOST_AFTER = 30

#: Seconds that processes wait for each other at the start.
START_WITHIN = 600

_EXAMPLE = '{"cluster": {"worker": ["first:2222", "second:2222"]}, "task": {"type": "worker", "index": 0}}'
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


class Share(NamedTuple):
    """The parts of each batch that the replicas of one process take: `taken` from `first` on, of `parts` equal ones."""

    first: int = 0
    taken: int = 1
    parts: int = 1


#: What one process takes.
ALL = Share()


class Workers:
    """The processes that make a run together: one, unless a strategy over several has been made.

    Arguments:
        index: the number of this one, from 0.
        count: how many there are.
    """

    def __init__(self) -> None:
        self.index, self.count = 0, 1
        self._strategy: tf.distribute.Strategy | None = None

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes the run's folder."""
        return self.index == 0

    def join(self, strategy: tf.distribute.MultiWorkerMirroredStrategy) -> None:
        """Makes this process one of those of a strategy."""
        self.index, self.count = strategy.extended._id_in_cluster, strategy.extended._num_workers
        self._strategy = strategy

    def sum(self, values: ArrayLike) -> np.ndarray:
        """Returns the sum of an array of integers over all processes, of which each has to ask for it.

        Arguments:
            values: of the same shape in all of them.

        Raises:
            UsageError: one of the others has ended.
        """
        array = np.asarray(values, np.int64)
        if self._strategy is None:
            return array
        with naming_lost_workers():
            return _sum_over_workers(self._strategy)(tf.constant(array)).numpy()

    def wait(self) -> None:
        """Returns when all processes have come here.

        Raises:
            UsageError: one of the others has ended.
        """
        self.sum(0)

    def check_same(self, values: ArrayLike, what: str) -> None:
        """Raises a UsageError unless all processes hold the same integers, such as how far a run in a folder is.

        Arguments:
            values: of the same shape in all of them.
            what: they are, for the message, such as "state in 'folder'".
        """
        if not np.array_equal(self.sum(values), self.count * np.asarray(values)):
            raise UsageError(
                f"The {self.count} processes of this run do not find the same {what}. Give --workdir a folder that all "
                "of them share."
            )

    def share(self, batch_size: int) -> Share:
        """Returns the parts of every batch that this process takes.

        Raises:
            UsageError: the batch does not divide into equal parts, one for each replica.
        """
        if self._strategy is None:
            return ALL
        parts = self._strategy.num_replicas_in_sync
        if batch_size % parts:
            raise UsageError(
                f"Each of the {parts} replicas of {self.count} processes takes an equal part of a batch. Received: "
                f"batch_size={batch_size}. Choose a multiple of {parts}."
            )
        taken = parts // self.count
        return Share(self.index * taken, taken, parts)

    def distribute(self, batches: Callable[[], tf.data.Dataset]) -> Any:
        """Returns batches as `fit` takes them.

        Arguments:
            batches: returns them; of several processes those parts that this one's replicas take, one after the other
                (see `share`).
        """
        if self._strategy is None:
            return batches()
        return self._strategy.distribute_datasets_from_function(lambda _: batches())


#: Those of this process's run.
WORKERS = Workers()


@functools.cache  # a second strategy would reuse the first one's collective keys
def make_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Returns the strategy of a name, the same one at every call.

    "multi_worker" has to be made before TensorFlow has computed anything.

    Arguments:
        name: "auto", all GPUs if there are several, else one device; "one_device", the first GPU or the CPU;
            "mirrored", all GPUs or, without any, all logical CPUs of this process; "multi_worker", those of all
            processes that TF_CONFIG or Slurm's variables name; "tpu", the TPU of this machine, which is untested.

    Raises:
        UsageError: the name is unknown, TF_CONFIG or Slurm's variables are missing or wrong, the other processes do not
            come, TensorFlow has computed something before, or there is no TPU.
    """
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    if name == "multi_worker":
        return _multi_worker()
    if name == "tpu":
        try:
            return tf.distribute.TPUStrategy(tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu="local"))
        except Exception as error:  # which one depends on the library of the TPU
            raise UsageError(
                f"strategy=tpu finds no TPU: {reason_of(error)}. Choose one of the others: auto, one_device, mirrored."
            ) from None
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def all_reduce(operation: tf.distribute.ReduceOp, values: Any) -> Any:
    """Returns tensors summed or averaged over all replicas, within a step of one of them; outside of steps as given."""
    context = tf.distribute.get_replica_context()
    if context is None:
        return values
    # Several processes cannot reduce what has no device yet, such as a function's argument: a copy has one.
    return context.all_reduce(operation, tf.nest.map_structure(tf.identity, values))


def gather_over_replicas(values: tf.Tensor) -> tf.Tensor:
    """Returns a tensor of each replica, (replicas, ...), within a step of one of them; outside of steps (1, ...).

    It is a sum in which each replica has a row of its own, so that gradients flow back to where values are from.

    Arguments:
        values: floating point, of one shape in all replicas.
    """
    context = tf.distribute.get_replica_context()
    if context is None:
        return values[None]
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
    own = tf.one_hot(replica, tf.distribute.get_strategy().num_replicas_in_sync, dtype=values.dtype)
    return all_reduce(tf.distribute.ReduceOp.SUM, tf.reshape(own, [-1] + [1] * values.shape.rank) * values)


def places_in_batch(count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where this replica's images lie in the batch of all replicas, int32 (count,), and that one's size.

    What is random of an image is folded from its place, so that replicas draw what one device would.

    Arguments:
        count: the number of this replica's images.
    """
    context = tf.distribute.get_replica_context()
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if context is None or replicas == 1:
        return tf.range(count), count
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
    counts = tf.cast(gather_over_replicas(tf.cast(count, tf.float32)), tf.int32)
    return tf.range(count) + tf.reduce_sum(counts[:replica]), tf.reduce_sum(counts)


@contextlib.contextmanager
def naming_lost_workers() -> Iterator[None]:
    """Says so where an error inside is that another process of the run has ended.

    Raises:
        UsageError: in its place.
    """
    try:
        yield
    except _LOST as error:
        if WORKERS.count == 1:
            raise
        raise UsageError(
            f"Another of the {WORKERS.count} processes of this run has ended, or cannot be reached any more, so that "
            f"process {WORKERS.index} ends too. See what the others said. Once all are started again by the same "
            "commands, the run goes on from its last state."
        ) from error


@functools.cache
def _sum_over_workers(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    local = strategy.num_replicas_in_sync // WORKERS.count

    @tf.function(autograph=False)
    def total(values: tf.Tensor) -> tf.Tensor:
        def replica() -> tf.Tensor:  # of which the first of each process speaks for it
            context = tf.distribute.get_replica_context()
            speaks = tf.equal(tf.cast(context.replica_id_in_sync_group, tf.int32) % local, 0)
            return all_reduce(tf.distribute.ReduceOp.SUM, values * tf.cast(speaks, values.dtype))

        return strategy.experimental_local_results(strategy.run(replica))[0]

    return total


def _multi_worker() -> tf.distribute.Strategy:
    # How soon a lost process is noticed has no public name in TensorFlow.
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
    from tensorflow.python.eager import context as tensorflow_context

    resolver = _resolver()
    workers = resolver.cluster_spec().as_dict()
    jobs = [
        coordination_config_pb2.CoordinatedJob(name=job, num_tasks=len(tasks)) for job, tasks in sorted(workers.items())
    ]
    context = tensorflow_context.context()
    if context._context_handle is not None:
        raise UsageError(
            "strategy=multi_worker has to be made before TensorFlow has computed anything in this process. Call "
            "racl_tf.distribution.make_strategy('multi_worker') first."
        )
    leader = "chief" if "chief" in workers else "worker"
    context.configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{leader}/replica:0/task:0",
        cluster_register_timeout_in_ms=1000 * START_WITHIN,
        heartbeat_timeout_in_ms=1000 * LOST_AFTER,
        coordinated_jobs=jobs,
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"The processes of strategy=multi_worker did not come together: {reason_of(error)}. Check that each has "
            "its own address, that its port is free and reachable, and that all are started."
        ) from None
    WORKERS.join(strategy)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # which TensorFlow has taken for itself
    return strategy


def _resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    """Returns who the processes are, of TF_CONFIG or else of Slurm's variables.

    Raises:
        UsageError: neither is there, or what is there names no cluster with this process in it.
    """
    if text := os.environ.get("TF_CONFIG"):
        cluster, kind, index = _read_tf_config(text)
    elif "SLURM_PROCID" in os.environ:
        try:
            # What counts GPUs there fails without any, and is not needed: each process takes those that it sees.
            slurm = tf.distribute.cluster_resolver.SlurmClusterResolver(
                gpus_per_node=1024, gpus_per_task=1, auto_set_gpu=False
            )
            cluster = slurm.cluster_spec().as_dict()
            kind, index = slurm.get_task_info()
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            raise UsageError(
                f"Slurm's variables name no cluster: {reason_of(error)}. Start the program by srun, or set TF_CONFIG, "
                f"such as TF_CONFIG='{_EXAMPLE}'."
            ) from None
    else:
        raise UsageError(
            "strategy=multi_worker needs to know the processes of the run. Received: neither TF_CONFIG nor Slurm's "
            f"variables. Start the program by srun, or set TF_CONFIG, such as TF_CONFIG='{_EXAMPLE}'."
        )
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster),
        task_type=kind,
        task_id=index,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )


def _read_tf_config(text: str) -> tuple[dict[str, list[str]], str, int]:
    """Returns the addresses by job, and the job and number of this process."""

    def wrong(what: str) -> UsageError:
        return UsageError(f"TF_CONFIG {what}. Received: {text}. It has to be such as '{_EXAMPLE}'.")

    try:
        content = json.loads(text)
    except ValueError as error:
        raise wrong(f"is no JSON ({error})") from None
    cluster, task = (content.get(name) if isinstance(content, Mapping) else None for name in ("cluster", "task"))
    if not isinstance(cluster, Mapping) or not cluster or not set(cluster) <= {"chief", "worker"}:
        raise wrong("names no cluster of the jobs chief and worker alone")
    for addresses in cluster.values():
        known = isinstance(addresses, list) and addresses and all(isinstance(each, str) for each in addresses)
        if not known or not all(each.rpartition(":")[2].isdigit() for each in addresses):
            raise wrong("does not give each job a list of addresses, host:port")
    every = [each for addresses in cluster.values() for each in addresses]
    if len(set(every)) < len(every) or len(cluster.get("chief", [])) > 1:
        raise wrong("gives two processes the same address, or has two chiefs")
    if not isinstance(task, Mapping) or task.get("type") not in cluster:
        raise wrong("does not say which task of the cluster this process is")
    index = task.get("index")
    if not isinstance(index, int) or not 0 <= index < len(cluster[task["type"]]):
        raise wrong(f"gives this process a number that its job {task['type']!r} does not have")
    return dict(cluster), task["type"], index

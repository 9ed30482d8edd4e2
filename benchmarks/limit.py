"""Says how far steps are from what this machine can do, kernel by kernel.

Of every kernel in the graphs of a search step, a PGD-7 training step and PGD-20 it counts the multiply-adds, and the
bytes that it has to read and write. In the same run it measures how many of either this machine does in a second, by a
matrix product and by copies, and every kernel alone at its shapes. The attainable time of a kernel is that of its
multiply-adds or of its bytes, whichever is longer; that of a step is the sum. Of each part the ten kernels that lose
most, alone, are listed.

Kernels that only pass tensors on count nothing. Bytes are each input's and output's once, so that a graph whose kernels
were fused could need less time than is attainable here.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from absl import flags

from benchmarks.program import Report, run
from benchmarks.tensorflow_side import (
    attack_pass,
    constant_batches,
    make_search,
    make_trainer,
    random_batch,
    training_step,
)
from benchmarks.timing import interleave, timed
from racl_tf import AdversarialTrainer, attacks
from racl_tf.training.graph_optimizer import without_graph_optimizer

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 32, "The images of one batch.")
flags.DEFINE_integer("channels", 16, "C.")
flags.DEFINE_integer("cells", 8, "L of the search; training has 5.")
flags.DEFINE_integer("steps", 20, "The steps of PGD.")
flags.DEFINE_integer("product", 1536, "The rows and columns of the matrix product.")
flags.DEFINE_integer("kernels", 10, "How many kernels are listed of each part; at 0 none is measured alone.")

TRAINING_CELLS, TRAINING_STEPS = 5, 7
#: Kernels that pass tensors on, or only describe them.
FREE = (
    *("Const", "Placeholder", "ReadVariableOp", "Identity", "IdentityN", "NoOp", "StopGradient", "Assert", "Rank"),
    *("Reshape", "Squeeze", "ExpandDims", "Shape", "ShapeN", "ConcatOffset", "BroadcastGradientArgs", "FloorMod"),
)
#: Of kernels that attain less than this share of a part's time none is measured alone.
_SMALLEST = 1 / 2000
COPIES = tuple(2**exponent for exponent in range(18, 29, 2))
"""The bytes of the tensors that are copied: from 256 KiB, which caches hold, to 256 MiB."""


@dataclass(frozen=True)
class Machine:
    """What this machine does in a second: multiply-adds, and bytes by the size of what is read and written."""

    multiply_adds: float
    bandwidths: dict[int, float]

    def attainable(self, kernel: "Kernel") -> float:
        """Returns the seconds that a kernel takes at least."""
        size = next((size for size in self.bandwidths if 2 * size >= kernel.bytes), max(self.bandwidths))
        return max(kernel.multiply_adds / self.multiply_adds, kernel.bytes / self.bandwidths[size])


@dataclass(frozen=True)
class Kernel:
    """An operation of a graph at its shapes; equal ones compute alike."""

    name: str
    multiply_adds: float
    bytes: float


Kernels = dict[Kernel, list[tf.Operation]]


def measure_machine() -> Machine:
    """Measures a matrix product, and copies that add 1."""
    matrix = tf.random.stateless_uniform([FLAGS.product] * 2, [0, 0])
    product = seconds_in_graph(tf.matmul, [matrix, matrix])
    copies = {size: seconds_in_graph(lambda images: images + 1.0, [tf.zeros([size // 4])]) for size in COPIES}
    return Machine(FLAGS.product**3 / product, {size: 2 * size / seconds for size, seconds in copies.items()})


def seconds_in_graph(compute: Callable[..., tf.Tensor], tensors: Sequence[tf.Tensor], *, turns: int = 16) -> float:
    """Returns the seconds of a computation in a graph that makes it several times, one after the other."""

    @tf.function(autograph=False)
    def repeated(*given: tf.Tensor) -> tf.Tensor:
        before: list[tf.Operation] = []
        for _ in range(turns):
            with tf.control_dependencies(before):
                before = [compute(*given).op]
        with tf.control_dependencies(before):
            return tf.constant(0)

    run = timed(without_graph_optimizer(lambda: repeated(*tensors)))  # which would see that nothing needs the results
    run()
    return statistics.median(run() for _ in range(3)) / turns


def kernels_of(graph: tf.Graph) -> Kernels:
    """Returns the kernels that a function's results and changes of state depend on, with their operations."""
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    found: dict[str, tf.Operation] = {}
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found[operation.name] = operation
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    kernels: Kernels = {}
    for operation in found.values():
        if operation.type not in FREE:
            kernels.setdefault(describe(operation), []).append(operation)
    return kernels


def describe(operation: tf.Operation) -> Kernel:
    tensors = [*operation.inputs, *operation.outputs]
    known = [tensor for tensor in tensors if tensor.dtype != tf.resource and tensor.shape.is_fully_defined()]
    shapes = ", ".join("x".join(map(str, tensor.shape)) or "1" for tensor in known if tensor.dtype.is_floating)
    size = sum(tensor.dtype.size * tensor.shape.num_elements() for tensor in known)
    strides = [str(n) for n in operation.get_attr("strides")[1:3]] if "strides" in operation.node_def.attr else []
    name = f"{operation.type} {shapes}" + (f", strides {'x'.join(strides)}" if {*strides} - {"1"} else "")
    return Kernel(name, multiply_adds(operation), size)


def multiply_adds(operation: tf.Operation) -> float:
    """Returns those of convolutions and matrix products; what other kernels compute is less than what they move."""
    kind = operation.type
    if kind in ("MatMul", "BatchMatMulV2"):
        left = operation.inputs[0].shape
        inner = left[-2 if operation.node_def.attr["transpose_a" if kind == "MatMul" else "adj_x"].b else -1]
        return float(operation.outputs[0].shape.num_elements() * inner)
    if not kind.startswith(("Conv2D", "DepthwiseConv2d")):
        return 0.0
    kernel = (operation.outputs[0] if kind.endswith("Filter") else operation.inputs[1]).shape
    images = operation.inputs[2] if "Backprop" in kind else operation.outputs[0]
    window = kernel[:2] if kind.startswith("Depthwise") else kernel[:3]
    return float(images.shape.num_elements() * math.prod(window))


def alone(operation: tf.Operation) -> float | None:
    """Returns the seconds that an operation takes by itself; None if its inputs cannot be made up."""
    values = [tf.get_static_value(tensor) for tensor in operation.inputs]
    dynamic = [tensor for tensor, value in zip(operation.inputs, values, strict=True) if value is None]
    if not operation.outputs or not all(t.dtype.is_floating and t.shape.is_fully_defined() for t in dynamic):
        return None

    def compute(*given: tf.Tensor) -> tf.Tensor:
        rest = iter(given)
        inputs = [next(rest) if value is None else tf.constant(value) for value in values]
        types, attributes = [tensor.dtype for tensor in operation.outputs], dict(operation.node_def.attr)
        graph = tf.compat.v1.get_default_graph()
        return graph.create_op(operation.type, inputs, types, attrs=attributes, op_def=operation.op_def).outputs[0]

    made_up = [tf.random.stateless_uniform(tensor.shape, [0, 0], dtype=tensor.dtype) for tensor in dynamic]
    return seconds_in_graph(compute, made_up)


def make_parts() -> dict[str, tf.Graph]:
    """Returns the graphs that steps are made of, by name."""
    images, labels = batch = random_batch(FLAGS.batch)
    search = make_search(FLAGS.channels, FLAGS.cells)
    trainer = trainer_against(None)

    parts: dict[str, Callable[[], Any]] = {
        "weights' update": lambda: search.update_weights(batch),
        "architecture's update": lambda: search.update_architecture(batch, batch, search.norms.measure()).constant,
        "training update": lambda: trainer.train_step(batch),
        "attack pass": lambda: attack_pass(trainer.network, images, labels),
    }
    return {name: tf.function(part, autograph=False).get_concrete_function().graph for name, part in parts.items()}


def trainer_against(attack: attacks.GradientAttack | None) -> AdversarialTrainer:
    return make_trainer(FLAGS.channels, min(FLAGS.cells, TRAINING_CELLS), attack)


def make_steps() -> dict[str, tuple[Callable[[], object], Counter]]:
    """Returns what is timed as a whole, and of how many of which parts it is made."""
    images, labels = batch = random_batch(FLAGS.batch)
    network = trainer_against(None).network
    pgd = attacks.pgd(8 / 255, 2 / 255, FLAGS.steps)
    pgd7 = attacks.pgd(8 / 255, 2 / 255, TRAINING_STEPS)
    search = training_step(make_search(FLAGS.channels, FLAGS.cells), constant_batches((batch, batch)))
    training = training_step(trainer_against(pgd7), constant_batches(batch))
    return {
        "search step": (search, Counter({"weights' update": 1, "architecture's update": 1})),
        f"PGD-{TRAINING_STEPS} training step": (
            training,
            Counter({"training update": 1, "attack pass": TRAINING_STEPS}),
        ),
        f"PGD-{FLAGS.steps}": (
            lambda: pgd(network, images.numpy(), labels.numpy()),
            Counter({"attack pass": FLAGS.steps}),
        ),
    }


def measure(report: Report) -> None:
    machine = measure_machine()
    report.add("matrix product", [2 * machine.multiply_adds / 1e9], "Gflop/s")
    for size, bandwidth in machine.bandwidths.items():
        report.add(f"copy of {size / 2**20:g} MiB", [bandwidth / 1e9], "GB/s")
    totals: dict[str, dict[str, float]] = {}
    for part, graph in make_parts().items():
        kernels = kernels_of(graph)
        totals.setdefault("attainable", {})[part] = add_counts(report, machine, part, kernels)
        if FLAGS.kernels:
            totals.setdefault("kernels alone", {})[part] = add_losses(report, machine, part, kernels)
    steps = make_steps()
    seconds = interleave({name: timed(action) for name, (action, _) in steps.items()}, FLAGS.repeats)
    report.add_times(seconds)
    for name, (_, parts) in steps.items():
        for what, by_part in totals.items():
            total = sum(count * by_part[part] for part, count in parts.items())
            report.add(f"{name}, {what} / measured", [total / value for value in seconds[name]], "ratio")


def add_counts(report: Report, machine: Machine, part: str, kernels: Kernels) -> float:
    """Adds what a part of a step computes and moves; returns its attainable seconds."""
    for what in ("multiply_adds", "bytes"):
        total = sum(len(operations) * getattr(kernel, what) for kernel, operations in kernels.items())
        report.add(f"{part}, {what.replace('_', '-')}", [total / 1e9], "billion")
    attainable = sum(len(operations) * machine.attainable(kernel) for kernel, operations in kernels.items())
    report.add(f"{part}, attainable", [attainable], "s")
    return attainable


def add_losses(report: Report, machine: Machine, part: str, kernels: Kernels) -> float:
    """Measures kernels alone and adds those that lose most; returns the seconds of all, one after the other.

    Those that cannot be made alone, and the smallest, are taken at what they could attain.
    """
    least = {kernel: machine.attainable(kernel) for kernel in kernels}
    total = sum(len(operations) * least[kernel] for kernel, operations in kernels.items())
    taken = dict(least)
    for kernel, operations in kernels.items():
        if len(operations) * least[kernel] > total * _SMALLEST:
            taken[kernel] = alone(operations[0]) or least[kernel]
    lost = {kernel: len(operations) * (taken[kernel] - least[kernel]) for kernel, operations in kernels.items()}
    report.add(f"{part}, kernels alone", [total + sum(lost.values())], "s")
    for kernel in sorted(lost, key=lambda kernel: -lost[kernel])[: FLAGS.kernels]:
        name = f"{len(kernels[kernel])} x {kernel.name}, at {least[kernel] / taken[kernel]:.0%} of it, loses"
        report.add(f"{part}: {name}", [1e3 * lost[kernel]], "ms")
    return total + sum(lost.values())


if __name__ == "__main__":
    run(measure, quick={"batch": 2, "channels": 4, "cells": 1, "steps": 2, "product": 64, "repeats": 2})

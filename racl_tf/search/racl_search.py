"""The search: a Keras model whose training step alternates weight, architecture and dual updates."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from racl_tf.attacks import GradientAttack, image_seeds
from racl_tf.distribution import places_in_batch
from racl_tf.errors import UsageError, check_positive, unknown
from racl_tf.lipschitz.operation_norms import OperationNorms
from racl_tf.lipschitz.surrogate import LogNormal, least_relative_mean, network_constant
from racl_tf.memory import short_stacks
from racl_tf.networks.supernet import Supernet
from racl_tf.search.architecture import Architecture
from racl_tf.search.confidence_constraint import ConfidenceConstraint, ConstraintState
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.second_order import unrolled_gradients
from racl_tf.seeding import fold
from racl_tf.space import NODES, Genotype
from racl_tf.training.checked_model import CheckedModel
from racl_tf.training.descent import accumulated_gradients, descend, gradients_of, share_of_batch
from racl_tf.training.graph_optimizer import traced_once, without_graph_optimizer
from racl_tf.training.objective import cross_entropy, record, results, running_means

UPDATES = ("joint", "sequential")
_ON_WEIGHTS = ("loss", "accuracy")
ON_ARCHITECTURE = ("architecture_loss", "architecture_accuracy")
ON_CONSTRAINT = ("constraint", "probability", "theta")
Batch = tuple[tf.Tensor, tf.Tensor]
Shown = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class SearchPoint(NamedTuple):
    """Where a step of the search begins."""

    constant: LogNormal
    """mu_F and sigma_F^2 of the network (Eqs. 8 to 12)."""
    constraint: ConstraintState | None = None
    """Where the constraint stands; None in the warm-up and without a constraint."""
    shown: tuple[Shown, ...] = ()
    """CE, logits and labels of the architecture's half, by parts of the batch; empty in the warm-up."""


class _Part(NamedTuple):
    """Variables of the architecture that move together, with their optimizer and what weight decay pulls them to."""

    optimizer: keras.Optimizer
    variables: tuple[keras.Variable, ...]
    anchors: tuple[tf.Tensor | None, ...]


@keras.saving.register_keras_serializable("racl_tf")
class RACLSearch(CheckedModel):
    r"""Searches an architecture whose Lipschitz constant stays below a target with confidence (Section 2.3).

    A step takes ((x_w, y_w), (x_a, y_a)), one batch of each half of the training set, and

    1. measures ln(lambda_o) of every operation by power iteration (`OperationNorms.measure`);
    2. updates mu and sigma of alpha and beta on (x_a, y_a) by the gradient of
       CE + theta c + rho/2 c^2 at one reparameterised draw (Eqs. 17 and 18, `update_architecture`);
    3. updates theta by rho c (Eq. 19, `update_dual`), with the c of the point that 2. started from (the constraint's
       `update="proximal"`: that it ended at, since there c has a step of its own beside the loss's);
    4. updates the weights on (x_w, y_w) by the gradient of CE at a fresh draw (`update_weights`).

    While `searching` is false (the warm-up, see `racl_tf.search.WarmUp`) 2. and 3. are left out.
    Each step logs loss and accuracy of both halves (running means over the epoch) and, as they
    stand, mu_F, sigma_F and, once there is a target, constraint (c), theta and probability.
    Called on images it gives the logits at the median architecture.

    Arguments:
        supernet: the network that is searched.
        architecture: what alpha and beta are: drawn from log-normal distributions by default, RACL's, or a
            `PointArchitecture`.
        constraint: on the network's Lipschitz constant; None searches without.
        norms: the kind of an operation's norm, "matrix" (the paper's) or "operator" (see `OperationNorms`).
        norms_batch_norm: whether norms include the normalisations' factors, without which they order operations
            against their gains; by default unless the constraint's update is "printed".
        updates: "joint": mu and sigma from one backward pass (Eq. 18 as printed); "sequential": mu first, then
            sigma at the new mu, by an optimizer of its own with the same settings.
        second_order: takes the architecture's gradient of CE not at the weights but after one descent step of
            theirs on (x_w, y_w), approximated as by DARTS (Liu et al., 2019, Eqs. 7 and 8).
        attack: searches on images attacked at the current draw; None, the paper's: on clean ones.
        seed: of everything that is drawn.

    Raises:
        UsageError: an argument is unknown.
    """

    def __init__(
        self,
        supernet: Supernet,
        architecture: Architecture | None = None,
        constraint: ConfidenceConstraint | None = None,
        *,
        norms: str = "matrix",
        norms_batch_norm: bool | None = None,
        updates: str = "joint",
        second_order: bool = False,
        attack: GradientAttack | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # images stay float32 under a mixed policy
        if updates not in UPDATES:
            raise unknown("order of updates", updates, UPDATES)
        self.supernet = supernet
        self.architecture = LogNormalArchitecture() if architecture is None else architecture
        self.constraint = constraint
        if norms_batch_norm is None:
            norms_batch_norm = constraint is None or constraint.proximal
        self.norms = OperationNorms(supernet, norm_kind=norms, batch_norm=norms_batch_norm)
        self.updates = updates
        self.second_order = second_order
        self.attack = attack
        self.seed = seed
        self.searching = True
        self.cell_types = tf.constant([int(cell.reduction) for cell in supernet.cells])
        self.steps = self.add_weight(
            (), "zeros", dtype="int32", trainable=False, aggregation="only_first_replica", name="steps"
        )
        self._means = running_means(*_ON_WEIGHTS, *ON_ARCHITECTURE)
        self.built = True

    def compile(
        self,
        optimizer: Any = None,
        architecture_optimizer: Any = None,
        *,
        weight_decay: float = 3e-4,
        architecture_weight_decay: float = 1e-3,
        clip_norm: float | None = 5.0,
        accumulation_steps: int = 1,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Configures the two optimizers.

        Arguments:
            optimizer: of the weights; by default SGD(0.1, momentum 0.9).
            architecture_optimizer: of mu and sigma; by default Adam(6e-4, 0.5, 0.999).
            weight_decay: coupled L2 on every weight.
            architecture_weight_decay: coupled L2 that pulls mu to its start; there is none on sigma.
            clip_norm: the largest global norm of the weights' gradient; None for no clipping.
            accumulation_steps: parts of either batch, passed one after the other, whose gradients are summed: less
                memory for the same step, but that batch normalisation sees the parts alone.
            jit_compile: whether XLA compiles the step; off by default, since on CPUs it makes depthwise
                convolutions 10 to 40 times slower.
            **kwargs: as `keras.Model.compile` takes them.

        Raises:
            UsageError: `second_order` under a strategy of several replicas, which cannot try weights out, or over parts
                of a batch; a supernet that computes in float16.
        """
        check_positive(accumulation_steps=accumulation_steps)
        if self.second_order and accumulation_steps > 1:
            raise UsageError(
                "`second_order` takes the gradients of a batch as a whole. Search with accumulation_steps=1, or with "
                f"second_order=False. Received: accumulation_steps={accumulation_steps}."
            )
        if self.second_order and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise UsageError(
                "`second_order` moves the weights to and fro within a step, which several replicas cannot do. "
                "Search on one device or with second_order=False."
            )
        self._step_config = {
            "weight_decay": weight_decay,
            "architecture_weight_decay": architecture_weight_decay,
            "clip_norm": clip_norm,
            "accumulation_steps": accumulation_steps,
            "jit_compile": jit_compile,
        }
        # The loss is this model's own: nested batches under a strategy do not survive Keras's.
        super().compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=jit_compile, **kwargs)
        self.architecture_optimizer = keras.optimizers.get(
            architecture_optimizer or keras.optimizers.Adam(6e-4, beta_1=0.5, beta_2=0.999)
        )
        self.check_precision(self.optimizer, self.architecture_optimizer)
        self.optimizer.build(self.supernet.trainable_variables)
        if self.updates == "sequential" and self.architecture.sigma_logits:
            self.sigma_optimizer = type(self.architecture_optimizer).from_config(
                self.architecture_optimizer.get_config()
            )
        for part in self._architecture_parts():
            part.optimizer.build(list(part.variables))
        self.weight_decay = weight_decay
        self.architecture_weight_decay = architecture_weight_decay
        self.clip_norm = clip_norm
        self.accumulation_steps = accumulation_steps
        self._update_in_both_phases = traced_once(self.update_weights)

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = without_graph_optimizer(self.train_function)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the logits (batch, num_classes) at the median architecture."""
        return self.supernet(inputs, *self.architecture.median(), training=training)

    def genotype(self, name: str | None = None) -> Genotype:
        """Returns the architecture that the medians select."""
        return self.architecture.genotype(name)

    @short_stacks()
    def train_step(self, data: tuple[Batch, Batch]) -> dict[str, tf.Tensor]:
        weight_batch, architecture_batch = map(self.checked, data)
        log_norms = self.norms.measure()
        if self.searching:
            point = self.update_architecture(architecture_batch, weight_batch, log_norms)
            self.update_dual(point)
        else:
            point = SearchPoint(self.network_constant(log_norms, shared=self._is_proximal))
        self._update_in_both_phases(weight_batch)
        self.steps.assign_add(1)
        return self._logs(point)

    @short_stacks()
    def test_step(self, data: Batch) -> dict[str, tf.Tensor]:
        images, labels = self.checked(data)
        logits = self(images)
        record(self._means, "", cross_entropy(logits, labels), logits, labels)
        return results(self._means, *_ON_WEIGHTS)

    def network_constant(self, log_norms: tf.Tensor, *, shared: bool = False, start: bool = False) -> LogNormal:
        """Returns (mu_F, sigma_F^2) of the architecture as it stands (Eqs. 8 to 12).

        Arguments:
            log_norms: ln(lambda_o) of every operation (cells, 14, 8), of `OperationNorms.measure`.
            shared: counts that cells of one type share their draw (see `racl_tf.lipschitz.network_constant`).
            start: of the architecture that the search began with, at these norms.
        """
        scale_free = self.constraint is not None and self.constraint.scale_free
        parameters = self.architecture.initial_parameters() if start else self.architecture.parameters()
        return network_constant(*parameters, log_norms, self.cell_types, scale_free=scale_free, shared=shared)

    def reachable(self, log_norms: tf.Tensor) -> tf.Tensor:
        """Returns by how many nats choice alone can lower mu_F below the start's, measured scale-free, a scalar.

        Arguments:
            log_norms: ln(lambda_o) of every operation (cells, 14, 8), of `OperationNorms.measure`.
        """
        start = self.architecture.initial_parameters()
        mean = network_constant(*start, log_norms, self.cell_types, scale_free=True).mean
        return mean - least_relative_mean(log_norms, self.cell_types)

    def check_target(self) -> None:
        """Checks, before the architecture is trained, that choice alone can reach the target of relative weights.

        Raises:
            UsageError: the constraint is scale-free and asks for more than the lightest operations and edges give.
        """
        constraint = self.constraint
        if constraint is None or not constraint.scale_free:
            return
        log_norms = self.norms.measure(keep=False)
        reachable, least = float(self.reachable(log_norms)), float(least_relative_mean(log_norms, self.cell_types))
        if constraint.target is not None and constraint.target < least:
            raise UsageError(
                f"No choice of operations and edges reaches the target of the scale-free constraint, target="
                f"{constraint.target:g}: the smallest ln(lambda* / C) at these weights is {least:.2f}. Raise it, or "
                "give a `strictness` in its place."
            )
        if constraint.target is None and (constraint.reduction or 0) > reachable:
            raise UsageError(
                f"No choice of operations and edges reaches the target of the scale-free constraint, "
                f"{constraint.reduction:g} nats below the start architecture: the most at these weights is "
                f"{reachable:.2f} nats, {reachable / (NODES * len(self.supernet.cells)):.3f} a node. Lower it, or give "
                "a `strictness` in its place."
            )

    def update_architecture(self, batch: Batch, weight_batch: Batch, log_norms: tf.Tensor) -> SearchPoint:
        """Moves mu and sigma for the loss and for the constraint (Eqs. 17 and 18).

        In the printed way, and without a constraint, by the gradient of CE + theta c + rho/2 c^2 through one optimizer;
        in the proximal way by the gradient of CE through the optimizer and, from the same point, by a step of its own
        along the gradient of c.

        Arguments:
            batch: of the architecture's half.
            weight_batch: of the weights' half, which the gradient of second order looks at.
            log_norms: ln(lambda_o) of every operation (cells, 14, 8).

        Returns:
            Where the constraint stands: in the printed way as the step began, in the proximal way after it.
        """
        steps = None
        if self.constraint is not None:
            reference = self.network_constant(log_norms, shared=self._is_proximal, start=self._is_proximal)
            taken = tf.convert_to_tensor(self.architecture_optimizer.iterations)
            self.constraint.set_target(reference, self.reachable(log_norms), taken)
            steps = self._proximal_steps(self.constraint, log_norms) if self._is_proximal else None
        points = []
        for part in self._architecture_parts():
            gradients, point = self._architecture_gradients(batch, weight_batch, log_norms, part.variables)
            decay = self.architecture_weight_decay
            descend(part.optimizer, gradients, part.variables, weight_decay=decay, anchors=part.anchors)
            points.append(point)
        for shown in points[0].shown:
            record(self._means, "architecture_", *shown)
        if steps is None:
            return points[0]
        self.architecture.shift(*steps)
        return self._point(log_norms)

    def update_dual(self, point: SearchPoint) -> None:
        """Moves theta by rho c (Eq. 19), with the c of the point that `update_architecture` returned."""
        if self.constraint is not None and point.constraint is not None:
            self.constraint.update_dual(point.constraint.violation)

    def update_weights(self, batch: Batch) -> None:
        """Moves the weights by the gradient of CE at a fresh draw, clipped and decayed."""
        variables = self.supernet.trainable_variables
        (gradients,), parts = accumulated_gradients(
            self._cross_entropy("weights", tf.shape(batch[1])[0]),
            self._rows(batch, "weights"),
            self.accumulation_steps,
            variables,
        )
        for shown in parts:
            record(self._means, "", *shown)
        descend(self.optimizer, gradients, variables, clip_norm=self.clip_norm, weight_decay=self.weight_decay)

    def _logs(self, point: SearchPoint) -> dict[str, tf.Tensor]:
        shown = (*_ON_WEIGHTS, *ON_ARCHITECTURE) if self.searching else _ON_WEIGHTS
        logs = results(self._means, *shown)
        logs |= {"mu_F": point.constant.mean, "sigma_F": tf.sqrt(point.constant.variance)}
        if self.constraint is None or point.constraint is None:
            return logs
        logs |= {"constraint": point.constraint.violation, "probability": point.constraint.probability}
        return logs | {"theta": tf.convert_to_tensor(self.constraint.theta)}

    def _architecture_parts(self) -> list[_Part]:
        """Returns what moves together: mu and sigma, or one after the other."""
        starts = zip(self.architecture.mu, self.architecture.initial_mu(), strict=True)
        mu = [(variable, tf.constant(start, tf.float32)) for variable, start in starts if variable.trainable]
        sigma: list[tuple[keras.Variable, None]] = [(variable, None) for variable in self.architecture.sigma_logits]
        if self.updates == "joint" or not sigma:
            return [_Part(self.architecture_optimizer, *zip(*mu, *sigma, strict=True))]
        return [
            _Part(self.architecture_optimizer, *zip(*mu, strict=True)),
            _Part(self.sigma_optimizer, *zip(*sigma, strict=True)),
        ]

    def _architecture_gradients(
        self, batch: Batch, weight_batch: Batch, log_norms: tf.Tensor, variables: Sequence[keras.Variable]
    ) -> tuple[list[tf.Tensor], SearchPoint]:
        """Returns the gradients of Eq. 17, or of CE alone, by some of mu and sigma, and where they were taken."""
        whole = tf.shape(batch[1])[0]
        cross_entropy = self._cross_entropy("architecture", whole)

        def objective(*rows: tf.Tensor) -> tuple[tf.Tensor, SearchPoint]:
            share, shown = cross_entropy(*rows)
            point = self._point(log_norms)._replace(shown=(shown,))
            if self.constraint is None or point.constraint is None or self._is_proximal:
                return share, point
            penalty = self.constraint.penalty(point.constraint.violation)
            if self.accumulation_steps > 1:
                penalty *= tf.cast(tf.shape(rows[1])[0], penalty.dtype) / tf.cast(whole, penalty.dtype)
            return share + penalty, point

        rows = self._rows(batch, "architecture")
        if not self.second_order:
            (gradients,), points = accumulated_gradients(objective, rows, self.accumulation_steps, variables)
            return gradients, points[0]._replace(shown=tuple(point.shown[0] for point in points))
        trained = self._rows(weight_batch, "architecture")
        return unrolled_gradients(
            lambda: objective(*rows),
            lambda: self._cross_entropy("architecture", tf.shape(trained[1])[0])(*trained),
            variables,
            self.supernet.trainable_variables,
            self.optimizer.learning_rate,
            self.supernet.non_trainable_variables,
        )

    @property
    def _is_proximal(self) -> bool:
        return self.constraint is not None and self.constraint.proximal

    def _point(self, log_norms: tf.Tensor) -> SearchPoint:
        """Returns where the network's constant and, if there is one, the constraint stand."""
        constant = self.network_constant(log_norms, shared=self._is_proximal)
        if self.constraint is None:
            return SearchPoint(constant)
        shared = constant if self._is_proximal else self.network_constant(log_norms, shared=True)
        return SearchPoint(constant, self.constraint.evaluate(constant, shared))

    def _proximal_steps(
        self, constraint: ConfidenceConstraint, log_norms: tf.Tensor
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Returns the steps of mu and of sigma on the constraint, along its gradient with respect to both."""

        def objective() -> tuple[tf.Tensor, tf.Tensor]:
            violation = constraint.evaluate(self.network_constant(log_norms, shared=True)).violation
            return violation, violation

        logits, slopes = self.architecture.sigma_logits, self.architecture.sigma_slopes()
        (by_mu, by_logit), violation = gradients_of(objective, self.architecture.mu, logits)
        by_sigma = [gradient / slope for gradient, slope in zip(by_logit, slopes, strict=True)]
        squared_norm = tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in (*by_mu, *by_sigma)])
        factor = constraint.proximal_factor(violation, squared_norm)
        return [factor * gradient for gradient in by_mu], [factor * gradient for gradient in by_sigma]

    def _rows(self, batch: Batch, stream: str) -> tuple[tf.Tensor, ...]:
        """Returns the images and labels of a batch and, where images are attacked, a seed of each."""
        if self.attack is None:
            return batch
        seed = fold(self.seed, f"search/attack/{stream}", self.steps, 0)
        return (*batch, image_seeds(seed, places_in_batch(tf.shape(batch[0])[0])[0]))

    def _cross_entropy(self, stream: str, whole: tf.Tensor) -> Callable[..., tuple[tf.Tensor, Shown]]:
        """Returns CE of rows in training mode at this step's draw of a stream, to descend on and to show.

        Arguments:
            stream: whose draw and noise.
            whole: the number of rows of this replica's batch.
        """

        def objective(images: tf.Tensor, labels: tf.Tensor, *seeds: tf.Tensor) -> tuple[tf.Tensor, Shown]:
            alpha, beta = self.architecture.sample(fold(self.seed, f"search/{stream}", self.steps))
            if self.attack is not None:
                fixed = tf.stop_gradient(alpha), tf.stop_gradient(beta)
                images = self.attack.perturb(lambda x: self.supernet(x, *fixed, training=False), images, labels, *seeds)
            logits = self.supernet(images, alpha, beta, training=True)
            loss = cross_entropy(logits, labels)
            return share_of_batch(loss, tf.shape(labels)[0], whole), (loss, logits, labels)

        return objective

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "supernet": serialize(self.supernet),
            "architecture": serialize(self.architecture),
            "constraint": None if self.constraint is None else serialize(self.constraint),
            "norms": self.norms.norm_kind,
            "norms_batch_norm": self.norms.batch_norm,
            "updates": self.updates,
            "second_order": self.second_order,
            "attack": None if self.attack is None else asdict(self.attack),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RACLSearch":
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("supernet", "architecture", "constraint")
            if config[name] is not None
        }
        attack = None if config["attack"] is None else GradientAttack(**config["attack"])
        return cls(**{**config, **parts, "attack": attack})

    def get_compile_config(self) -> dict[str, Any] | None:
        if not self.compiled:
            return None
        serialize = keras.saving.serialize_keras_object
        return {
            **self._step_config,
            "optimizer": serialize(self.optimizer),
            "architecture_optimizer": serialize(self.architecture_optimizer),
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

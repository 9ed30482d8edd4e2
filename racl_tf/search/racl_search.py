"""The search: a Keras model whose training step alternates weight, architecture and dual updates."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import keras
import tensorflow as tf

from racl_tf.attacks import GradientAttack, image_seeds
from racl_tf.errors import UsageError, unknown
from racl_tf.lipschitz.operation_norms import OperationNorms
from racl_tf.lipschitz.surrogate import LogNormal, network_constant
from racl_tf.networks.supernet import Supernet
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.point_architecture import PointArchitecture
from racl_tf.search.second_order import gradients_of, unrolled_gradients
from racl_tf.seeding import fold
from racl_tf.space import Genotype
from racl_tf.training.descent import descend
from racl_tf.training.objective import cross_entropy, record, running_means

UPDATES = ("joint", "sequential")
Batch = tuple[tf.Tensor, tf.Tensor]


@keras.saving.register_keras_serializable("racl_tf")
class RACLSearch(keras.Model):
    r"""Searches an architecture whose Lipschitz constant stays below a target with confidence (Section 2.3).

    A step takes ((x_w, y_w), (x_a, y_a)), one batch of each half of the training set, and

    1. follows ln(lambda_o) of every operation by power iteration;
    2. updates mu and sigma of alpha and beta on (x_a, y_a) by the gradient of
       CE + theta c + rho/2 c^2 at one reparameterised draw (Eqs. 17 and 18);
    3. updates theta by rho c (Eq. 19), with the c of the point that 2. started from;
    4. updates the weights on (x_w, y_w) by the gradient of CE at a fresh draw.

    While `searching` is false (the warm-up, see `racl_tf.search.WarmUp`) 2. and 3. are left out.
    Each step logs loss and accuracy of both halves (running means over the epoch) and, as they
    stand, mu_F, sigma_F and, once there is a target, constraint (c), theta and probability.
    Called on images it gives the logits at the median architecture.

    Arguments:
        supernet: the network that is searched.
        architecture: what alpha and beta are: drawn from log-normal distributions by default, RACL's, or a
            `PointArchitecture`.
        constraint: on the network's Lipschitz constant; None searches without.
        norms: the reading of an operation's norm, "matrix" (the paper's) or "operator" (see `OperationNorms`).
        norms_batch_norm: whether norms include the normalisations' factors.
        updates: "joint": mu and sigma from one backward pass (Eq. 18 as printed); "sequential": mu first, then
            sigma at the new mu.
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
        architecture: PointArchitecture | None = None,
        constraint: ConfidenceConstraint | None = None,
        *,
        norms: str = "matrix",
        norms_batch_norm: bool = False,
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
        self.norms = OperationNorms(supernet, reading=norms, batch_norm=norms_batch_norm)
        self.updates = updates
        self.second_order = second_order
        self.attack = attack
        self.seed = seed
        self.searching = True
        self.cell_types = tf.constant([int(cell.reduction) for cell in supernet.cells])
        self.steps = self.add_weight(
            (), "zeros", dtype="int32", trainable=False, aggregation="only_first_replica", name="steps"
        )
        self._means = running_means("loss", "accuracy", "architecture_loss", "architecture_accuracy")
        self.built = True

    def compile(
        self,
        optimizer: Any = None,
        architecture_optimizer: Any = None,
        *,
        weight_decay: float = 3e-4,
        architecture_weight_decay: float = 1e-3,
        clip_norm: float | None = 5.0,
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
            jit_compile: whether XLA compiles the step; off by default, since on CPUs it makes depthwise
                convolutions 10 to 40 times slower.

        Raises:
            UsageError: `second_order` under a strategy of several replicas, which cannot try weights out.
        """
        if self.second_order and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise UsageError(
                "`second_order` moves the weights to and fro within a step, which several replicas cannot do. "
                "Search on one device or with second_order=False."
            )
        self._step_config = {
            "weight_decay": weight_decay,
            "architecture_weight_decay": architecture_weight_decay,
            "clip_norm": clip_norm,
            "jit_compile": jit_compile,
        }
        # The loss is this model's own: nested batches under a strategy do not survive Keras's.
        super().compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=jit_compile, **kwargs)
        self.architecture_optimizer = keras.optimizers.get(
            architecture_optimizer or keras.optimizers.Adam(6e-4, beta_1=0.5, beta_2=0.999)
        )
        self.optimizer.build(self.supernet.trainable_variables)
        self.architecture_optimizer.build(self.architecture.trainable_variables)
        self.weight_decay = weight_decay
        self.architecture_weight_decay = architecture_weight_decay
        self.clip_norm = clip_norm

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the logits (batch, num_classes) at the median architecture."""
        return self.supernet(inputs, *self.architecture.median(), training=training)

    def genotype(self, name: str | None = None) -> Genotype:
        """Returns the architecture that the medians select."""
        return self.architecture.genotype(name)

    def train_step(self, data: tuple[Batch, Batch]) -> dict[str, tf.Tensor]:
        weight_batch, architecture_batch = data
        log_norms = self.norms.measure(self.supernet)
        if self.searching:
            logs = self._architecture_step(architecture_batch, weight_batch, log_norms)
        else:
            constant = self._constant(log_norms)
            logs = {"mu_F": constant.mean, "sigma_F": tf.sqrt(constant.variance)}
        self._weight_step(weight_batch)
        self.steps.assign_add(1)
        shown = [name for name in self._means if self.searching or not name.startswith("architecture")]
        return {name: self._means[name].result() for name in shown} | logs

    def test_step(self, data: Batch) -> dict[str, tf.Tensor]:
        images, labels = data
        record(self._means, "", self(images), labels)
        return {name: self._means[name].result() for name in ("loss", "accuracy")}

    def _weight_step(self, batch: Batch) -> None:
        variables = self.supernet.trainable_variables
        (gradients,) = gradients_of(
            lambda: record(self._means, "", self._logits(batch, "weights"), batch[1]), variables
        )
        descend(self.optimizer, gradients, variables, clip_norm=self.clip_norm, weight_decay=self.weight_decay)

    def _architecture_step(self, batch: Batch, weight_batch: Batch, log_norms: tf.Tensor) -> dict[str, tf.Tensor]:
        if self.constraint is not None:
            self.constraint.set_target(self._constant(log_norms))
        starts = zip(self.architecture.mu, self.architecture.initial_mu(), strict=True)
        mu = [(variable, start) for variable, start in starts if variable.trainable]
        sigma = [(variable, None) for variable in self.architecture.sigma_logits]
        groups = [mu + sigma] if self.updates == "joint" or not sigma else [mu, sigma]
        logs: dict[str, tf.Tensor] = {}
        for group in groups:
            variables, anchors = zip(*group, strict=True)
            if logs:  # the second half of a step is the optimizer's same step
                self.architecture_optimizer.iterations.assign_sub(1)
            gradients, logs = self._architecture_gradients(batch, weight_batch, log_norms, variables, logs)
            decay = self.architecture_weight_decay
            descend(self.architecture_optimizer, gradients, variables, weight_decay=decay, anchors=anchors)
        if self.constraint is not None:
            self.constraint.update_dual(logs["constraint"])
            logs["theta"] = tf.convert_to_tensor(self.constraint.theta)
        return logs

    def _architecture_gradients(
        self,
        batch: Batch,
        weight_batch: Batch,
        log_norms: tf.Tensor,
        variables: Sequence[keras.Variable],
        first: dict[str, tf.Tensor],
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Returns the gradients of Eq. 18, and what is logged of the point where a step starts."""
        logs: dict[str, tf.Tensor] = {}

        def objective() -> tf.Tensor:
            logits = self._logits(batch, "architecture")
            loss = cross_entropy(logits, batch[1]) if first else record(self._means, "architecture_", logits, batch[1])
            constant = self._constant(log_norms)
            logs.update({"mu_F": constant.mean, "sigma_F": tf.sqrt(constant.variance)})
            if self.constraint is None:
                return loss
            state = self.constraint.evaluate(constant)
            logs.update({"constraint": state.violation, "probability": state.probability})
            return loss + self.constraint.penalty(state.violation)

        def training_loss() -> tf.Tensor:
            return cross_entropy(self._logits(weight_batch, "architecture"), weight_batch[1])

        if not self.second_order:
            (gradients,) = gradients_of(objective, variables)
        else:
            weights, rate = self.supernet.trainable_variables, self.optimizer.learning_rate
            statistics = self.supernet.non_trainable_variables
            gradients = unrolled_gradients(objective, training_loss, variables, weights, rate, statistics)
        return gradients, first or logs

    def _logits(self, batch: Batch, stream: str) -> tf.Tensor:
        """Returns the logits in training mode at this step's draw of a stream."""
        alpha, beta = self.architecture(fold(self.seed, f"search/{stream}", self.steps))
        return self.supernet(self._attacked(batch, alpha, beta, stream), alpha, beta, training=True)

    def _constant(self, log_norms: tf.Tensor) -> LogNormal:
        scale_free = self.constraint is not None and self.constraint.scale_free
        return network_constant(*self.architecture.parameters(), log_norms, self.cell_types, scale_free=scale_free)

    def _attacked(self, batch: Batch, alpha: tf.Tensor, beta: tf.Tensor, stream: str) -> tf.Tensor:
        images, labels = batch
        if self.attack is None:
            return images
        context = tf.distribute.get_replica_context()
        seed = fold(self.seed, f"search/attack/{stream}", self.steps, context.replica_id_in_sync_group)
        alpha, beta = tf.stop_gradient(alpha), tf.stop_gradient(beta)
        seeds = image_seeds(seed, tf.range(tf.shape(images)[0]))
        return self.attack.perturb(lambda x: self.supernet(x, alpha, beta, training=False), images, labels, seeds)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "supernet": serialize(self.supernet),
            "architecture": serialize(self.architecture),
            "constraint": None if self.constraint is None else serialize(self.constraint),
            "norms": self.norms.reading,
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

"""Training of any classifier under a defence, as a Keras model around it."""

from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.attacks import GradientAttack, image_seeds
from racl_tf.attacks.checks import check_outputs, check_single, check_takes_floats, probability_head
from racl_tf.defences import AdversarialTraining, Defence
from racl_tf.distribution import places_in_batch
from racl_tf.errors import UsageError, check_positive
from racl_tf.memory import short_stacks
from racl_tf.seeding import fold
from racl_tf.training.checked_model import CheckedModel
from racl_tf.training.descent import accumulated_gradients, descend, share_of_batch
from racl_tf.training.graph_optimizer import traced_once
from racl_tf.training.objective import cross_entropy, record, results, running_means


@keras.saving.register_keras_serializable("racl_tf")
class AdversarialTrainer(CheckedModel):
    """Trains a classifier under a defence, such as on attacked images (Section 3.1; Madry et al., 2018).

    Each step asks the defence for the loss of the batch, "loss", and descends on it, as often as it has replays.
    Validation gives the cross-entropy and accuracy on clean images and, under `validation_attack`, robust_accuracy:
    what the best checkpoint is chosen by, on images held out of the training set.

    Arguments:
        network: any Keras model from images in [0, 1] to logits.
        defence: a `Defence`; an attack, such as PGD-7 in the paper, stands for `AdversarialTraining` on its images
            and None for plain training.
        validation_attack: by default the attack that the defence trains against; None together with a defence
            without attack leaves robust_accuracy out.
        seed: of the attack's noise.
    """

    def __init__(
        self,
        network: keras.Model,
        defence: Defence | GradientAttack | None = None,
        *,
        validation_attack: GradientAttack | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # images stay float32 under a mixed policy
        self.network = network
        self.defence = defence if isinstance(defence, Defence) else AdversarialTraining(defence)
        self.validation_attack = validation_attack or self.defence.attack
        self.seed = seed
        self.steps = self.add_weight(
            (), "zeros", dtype="int32", trainable=False, aggregation="only_first_replica", name="steps"
        )
        self._means = running_means("loss", "accuracy", "robust_loss", "robust_accuracy")
        self.built = True

    def compile(
        self,
        optimizer: Any = None,
        *,
        weight_decay: float = 3e-4,
        clip_norm: float | None = 5.0,
        accumulation_steps: int = 1,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Configures training.

        Arguments:
            optimizer: by default SGD(0.1, momentum 0.9).
            weight_decay: coupled L2 on every weight.
            clip_norm: the largest global norm of the gradient; None for no clipping.
            accumulation_steps: parts of a batch, attacked and differentiated one after the other, whose gradients are
                summed: less memory for the same step, but that batch normalisation sees the parts alone, and drop path
                draws for each.
            jit_compile: whether XLA compiles the step; off by default, since on CPUs it makes depthwise
                convolutions 10 to 40 times slower.
            **kwargs: as `keras.Model.compile` takes them.

        Raises:
            UsageError: the network gives probabilities or several outputs, or no finite logits, takes integers,
                computes in float16, or is not built.
        """
        check_takes_floats(self.network)
        if not self.network.built:
            raise UsageError(
                "The network is not built, so that its weights are not known yet. Begin it with a keras.Input, or call "
                "it once on images."
            )
        shape: Any = getattr(self.network, "input_shape", None)
        self._network_is_checked = isinstance(shape, tuple) and None not in shape[1:]
        if self._network_is_checked:
            self._check_network(shape[1:])
        check_positive(accumulation_steps=accumulation_steps)
        self._step_config = {
            "weight_decay": weight_decay,
            "clip_norm": clip_norm,
            "accumulation_steps": accumulation_steps,
            "jit_compile": jit_compile,
        }
        super().compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=jit_compile, **kwargs)
        self.check_precision(self.optimizer)
        self.optimizer.build(self.network.trainable_variables)
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.accumulation_steps = accumulation_steps
        self._descend_in_each_replay = traced_once(self._descend, inline=False)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the network's logits."""
        return self.network(inputs, training=training)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Exports the network, as its own `export` does."""
        self.network.export(*args, **kwargs)

    @short_stacks()
    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        images, labels = self._batch(data)
        seeds = _seeds(fold(self.seed, "train/attack", self.steps, 0), images)
        moved, replays = self.defence.start(images, seeds), self.defence.replays
        step = self._descend_in_each_replay if replays > 1 else self._descend
        for left in reversed(range(replays)):
            gradient = step(moved, labels, seeds)
            if left:
                moved = self.defence.move(images, moved, gradient)
        self.steps.assign_add(1)
        return results(self._means, "loss", "accuracy")

    def _descend(self, images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor | None:
        """Descends on a batch once, and returns the gradient with respect to its images if these are replayed."""
        variables, whole = self.network.trainable_variables, tf.shape(labels)[0]

        def objective(images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, Any]:
            loss, logits = self.defence.objective(self.network, images, labels, seeds)
            return share_of_batch(loss, tf.shape(labels)[0], whole), (loss, logits, labels)

        (gradients, *of_images), parts = accumulated_gradients(
            objective,
            (images, labels, seeds),
            self.accumulation_steps,
            variables,
            of_images=self.defence.replays > 1,
        )
        descend(self.optimizer, gradients, variables, clip_norm=self.clip_norm, weight_decay=self.weight_decay)
        for loss, logits, labels in parts:
            record(self._means, "", loss, logits, labels)
        return of_images[0][0] if of_images else None

    @short_stacks()
    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        images, labels = self._batch(data)
        self._record("", images, labels)
        shown = ["loss", "accuracy"]
        if self.validation_attack is not None:
            seeds = _seeds(fold(self.seed, "train/validation"), images)
            attacked = self.validation_attack.perturb(self.call, images, labels, seeds)
            self._record("robust_", attacked, labels)
            shown += ["robust_loss", "robust_accuracy"]
        return results(self._means, *shown)

    def _batch(self, data: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a batch that is checked, and so is a network whose images' shape was not known before."""
        images, labels = self.checked(data)
        alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
        if not self._network_is_checked and images.shape[1:].is_fully_defined() and alone:
            self._network_is_checked = True
            with tf.init_scope():  # once, while the step is traced
                self._check_network(tuple(images.shape[1:]))
        return images, labels

    def _check_network(self, shape: tuple[int, ...]) -> None:
        black, white = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        rows = self._outputs(np.stack([black, white]))
        check_outputs(rows)
        if head := probability_head(self._outputs, rows, shape):
            raise UsageError(
                f"The model returns probabilities, but is trained on logits. Leave out the model's last {head}."
            )

    def _outputs(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(check_single(self.network(images, training=False)), np.float32)

    def _record(self, prefix: str, images: tf.Tensor, labels: tf.Tensor) -> None:
        logits = self.network(images, training=False)
        record(self._means, prefix, cross_entropy(logits, labels), logits, labels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "defence": keras.saving.serialize_keras_object(self.defence),
            "validation_attack": None if self.validation_attack is None else asdict(self.validation_attack),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AdversarialTrainer":
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("network", "defence")}
        attack = config["validation_attack"]
        return cls(**{**config, **parts, "validation_attack": attack and GradientAttack(**attack)})

    def get_compile_config(self) -> dict[str, Any] | None:
        if not self.compiled:
            return None
        return {**self._step_config, "optimizer": keras.saving.serialize_keras_object(self.optimizer)}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))


def _seeds(seed: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    return image_seeds(seed, places_in_batch(tf.shape(images)[0])[0])

"""The network that a genotype stands for."""

from typing import Any

import keras
import tensorflow as tf

from racl_tf.distribution import places_in_batch
from racl_tf.errors import UsageError
from racl_tf.image_spec import ImageSpec
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.layers.genotype_cell import GenotypeCell
from racl_tf.layers.initializers import uniform
from racl_tf.layers.relu_conv_bn import ReLUConvBN
from racl_tf.networks.cell_network import CellNetwork, CellPlan
from racl_tf.networks.image_network import dense_head
from racl_tf.seeding import derive, fold
from racl_tf.space import Genotype, get_genotype

CELLS = 20  # the depth that the paper retrains and evaluates


@keras.saving.register_keras_serializable("racl_tf")
class GenotypeNetwork(CellNetwork):
    """The classifier stacked from the cells of a genotype, as retrained and evaluated in the paper.

    Arguments:
        genotype: a `Genotype`, or what `get_genotype` takes: a published name or the path of a JSON file.
        spec: what the images are, an `ImageSpec` such as `dataset.spec`, or the number of classes alone.
        channels: of a node before the first reduction.
        cells: the depth; cells `cells // 3` and `2 * cells // 3` are reduction cells.
        auxiliary: whether a second classifier sits on cell `2 * cells // 3` (training only).
        drop_path: the probability, in [0, 1), that an operation's output is dropped for an image in training.
        drop_path_ramp: whether that is where the probability ends: it is `drop_path` times the network's variable
            `drop_path_share`, which begins at 0 and `racl_tf.training.DropPathRamp` raises with the epochs.
        kwargs: what `ImageNetwork` takes: the `seed` of the initial weights and of what is dropped, or `input_shape`,
            `mean` and `std`.

    Raises:
        UsageError: the genotype is unknown or an argument is out of its range.

    >>> network = GenotypeNetwork("racl", 10, channels=4, cells=3, input_shape=(8, 8, 1))
    >>> network(tf.zeros([2, 8, 8, 1])).shape
    TensorShape([2, 10])
    """

    def __init__(
        self,
        genotype: Genotype | str,
        spec: ImageSpec | int | None = None,
        *,
        channels: int = 36,
        cells: int = CELLS,
        auxiliary: bool = False,
        drop_path: float = 0.0,
        drop_path_ramp: bool = False,
        **kwargs: Any,
    ) -> None:
        self.genotype = genotype if isinstance(genotype, Genotype) else get_genotype(genotype)
        if not 0 <= drop_path < 1:
            raise UsageError(f"`drop_path` must be a probability in [0, 1). Received: drop_path={drop_path!r}.")
        super().__init__(spec, channels=channels, cells=cells, **kwargs)
        self.drop_path = drop_path
        self.drop_path_ramp = drop_path_ramp
        self.auxiliary_index = 2 * cells // 3
        self.auxiliary = None
        if auxiliary:
            self.auxiliary = AuxiliaryHead(
                self.num_classes, seed=derive(self.seed, "auxiliary"), name="auxiliary", dtype=self.dtype_policy
            )
            self.auxiliary.build(self.cell_shapes[self.auxiliary_index])
        if drop_path:
            self.training_calls = self.add_weight(
                (), "zeros", dtype="int32", trainable=False, aggregation="only_first_replica", name="training_calls"
            )
        if drop_path_ramp:
            self.drop_path_share = self.add_weight(
                (), "zeros", trainable=False, autocast=False, aggregation="only_first_replica", name="drop_path_share"
            )

    @property
    def classifier_weights(self) -> list[keras.Variable]:
        """The weights that belong to the classes, those of the auxiliary head's classifier among them."""
        heads = [self.head] if self.auxiliary is None else [self.head, self.auxiliary.head]
        return [weight for head in heads for weight in head.weights]

    def make_cell(self, plan: CellPlan) -> GenotypeCell:
        cell = self.genotype.reduce if plan.reduction else self.genotype.normal
        return GenotypeCell(cell, **plan._asdict(), dtype=self.dtype_policy)

    def call(
        self, inputs: tf.Tensor, training: bool = False, auxiliary: bool = False
    ) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        """Returns the logits (batch, num_classes) of images in [0, 1].

        With `auxiliary`, which needs a network that has the auxiliary head, a pair: the logits and the
        auxiliary head's.
        """
        keep = self._draw_kept_paths(tf.shape(inputs)[0]) if training and self.drop_path else None
        before = state = self.stem(self.normalize(inputs), training=training)
        logits = []
        for index, cell in enumerate(self.cells):
            kept = [] if keep is None else [tf.stack([paths[index] for paths in keep])]
            before, state = state, self.pass_cell(cell, [before, state], *kept, training=training)
            if auxiliary and index == self.auxiliary_index:
                if self.auxiliary is None:
                    raise UsageError("This network has no auxiliary head: create it with `auxiliary=True`.")
                logits.append(tf.cast(self.auxiliary(state, training=training), tf.float32))
        logits.insert(0, self.classify(state))
        return (logits[0], logits[1]) if auxiliary else logits[0]

    def _draw_kept_paths(self, batch: tf.Tensor) -> list[tf.Tensor]:
        edges = max(len(cell.edges) for cell in self.cells)
        seed = fold(self.seed, "drop_path", self.training_calls, 0)
        self.training_calls.assign_add(1)
        places, size = places_in_batch(batch)
        uniforms = tf.random.stateless_uniform([edges, len(self.cells), size, 1, 1, 1], seed)
        uniforms = tf.gather(uniforms, places, axis=2)
        probability = self.drop_path * (self.drop_path_share if self.drop_path_ramp else 1.0)
        return tf.unstack(tf.where(uniforms < probability, 0.0, 1 / (1 - probability)))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "genotype": self.genotype.to_json(),
            "auxiliary": self.auxiliary is not None,
            "drop_path": self.drop_path,
            "drop_path_ramp": self.drop_path_ramp,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GenotypeNetwork":
        return cls(**{**config, "genotype": Genotype.from_json(config["genotype"])})


@keras.saving.register_keras_serializable("racl_tf")
class AuxiliaryHead(keras.layers.Layer):
    """The second classifier of DARTS: 5x5 average pool at stride 3, 1x1 to 128, 2x2 to 768, logits.

    It is made for 8x8 features. On larger ones the 2x2 convolution's outputs are averaged, on smaller
    ones pool and convolution shrink to what is there.
    """

    def __init__(self, num_classes: int, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.seed = seed
        self.project = ReLUConvBN(128, seed=derive(seed, "project"), dtype=self.dtype_policy)
        self.norm = BatchNorm(dtype=self.dtype_policy)
        self.head = dense_head(num_classes, 768, seed=derive(seed, "head"), dtype=self.dtype_policy)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.window = min(5, *input_shape[1:3])
        pooled = [(size - self.window) // 3 + 1 for size in input_shape[1:3]]
        self.project.build((None, *pooled, input_shape[-1]))
        size = [min(2, side) for side in pooled]
        start = uniform(size[0] * size[1] * 128, derive(self.seed, "kernel"))
        self.kernel = self.add_weight((*size, 128, 768), start, name="kernel")
        self.norm.build((None, None, None, 768))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        pooled = tf.nn.avg_pool2d(tf.nn.relu(inputs), self.window, 3, "VALID")
        projected = tf.nn.relu(self.project(pooled, training=training))
        features = tf.nn.conv2d(projected, tf.convert_to_tensor(self.kernel), 1, "VALID")
        features = tf.nn.relu(self.norm(features, training=training))
        return self.head(tf.reduce_mean(features, [1, 2]))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (input_shape[0], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "seed": self.seed}

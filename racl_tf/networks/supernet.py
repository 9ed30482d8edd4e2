"""The network that contains every architecture of the search space."""

from typing import Any

import keras
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.image_spec import ImageSpec
from racl_tf.layers.mixed_cell import MixedCell
from racl_tf.networks.cell_network import CellNetwork, CellPlan


@keras.saving.register_keras_serializable("racl_tf")
class Supernet(CellNetwork):
    """The search network of PC-DARTS, whose operations and edges are weighted by given alpha and beta.

    The architecture is an input, not a part: how alpha and beta come about is another object's business.

    Arguments:
        spec: what the images are, an `ImageSpec` such as `dataset.spec`, or the number of classes alone.
        channels: of a node before the first reduction, divisible by `partial`.
        cells: the depth; cells `cells // 3` and `2 * cells // 3` are reduction cells.
        partial: the divisor k of partial channels: 1 / k of the channels go through the mixture (DARTS: 1).
        kwargs: what `ImageNetwork` takes: the `seed` of the initial weights, or `input_shape`, `mean` and `std`.

    Raises:
        UsageError: an argument is out of its range or channels are not divisible by `partial`.

    >>> network = Supernet(10, channels=4, cells=3, input_shape=(8, 8, 1))
    >>> network(tf.zeros([2, 8, 8, 1]), tf.fill([2, 14, 8], 1 / 8), tf.fill([2, 14], 1 / 2)).shape
    TensorShape([2, 10])
    """

    def __init__(
        self,
        spec: ImageSpec | int | None = None,
        *,
        channels: int = 16,
        cells: int = 8,
        partial: int = 4,
        **kwargs: Any,
    ) -> None:
        if not isinstance(partial, int) or partial < 1 or channels % partial:
            raise UsageError(
                "`channels` must be divisible by `partial`, the divisor of partial channels. "
                f"Received: channels={channels!r}, partial={partial!r}."
            )
        self.partial = partial
        super().__init__(spec, channels=channels, cells=cells, **kwargs)

    def make_cell(self, plan: CellPlan) -> MixedCell:
        return MixedCell(**plan._asdict(), partial=self.partial, dtype=self.dtype_policy)

    def call(self, inputs: tf.Tensor, alpha: tf.Tensor, beta: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the logits (batch, num_classes) of images in [0, 1].

        Arguments:
            inputs: images (batch, height, width, channels).
            alpha: (2, 14, 8), float32: normal and reduction cells, `EDGES`, `OPERATIONS`.
            beta: (2, 14), float32.
            training: whether normalisation uses and updates the batch's statistics.
        """
        before = state = self.stem(self.normalize(inputs), training=training)
        alphas, betas = tf.unstack(alpha), tf.unstack(beta)
        for cell in self.cells:
            kind = int(cell.reduction)
            before, state = state, self.pass_cell(cell, [before, state], alphas[kind], betas[kind], training=training)
        return self.classify(state)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "partial": self.partial}

"""RobNet: cells that keep all of their edges, each with a choice of its own."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.image_spec import ImageSpec
from racl_tf.layers.genotype_cell import GenotypeCell
from racl_tf.networks.cell_network import CellNetwork, CellPlan
from racl_tf.space import EDGES, INPUTS, NODES, Cell, Edge, edges_into

SMALL = "11 11 | 01 10 11 | 10 01 00 01 | 10 00 10 11 10"
"""The code of all cells of RobNet-small."""

LARGE_V1 = "11 11 | 11 11 11 | 01 11 01 10 | 11 01 01 01 11"
"""The code of all cells of RobNet-large."""

FREE = (
    "11 10 | 11 11 10 | 11 01 01 10 | 11 11 00 11 01",
    "11 00 | 01 10 01 | 00 10 10 00 | 01 11 10 11 00",
    "11 11 | 11 01 01 | 11 01 00 10 | 00 10 10 00 11",
    "10 11 | 10 01 01 | 10 10 01 10 | 11 00 00 01 10",
    "11 11 | 01 00 10 | 10 10 01 10 | 01 00 10 01 11",
    "11 10 | 11 11 11 | 01 10 11 00 | 10 01 11 01 11",
    "11 11 | 11 10 10 | 01 11 10 01 | 10 10 10 01 10",
    "01 11 | 11 11 01 | 11 11 11 01 | 11 01 11 10 00",
    "11 11 | 11 11 11 | 01 01 11 10 | 01 00 10 01 11",
    "10 11 | 01 00 11 | 11 10 11 01 | 11 11 11 11 00",
    "11 10 | 11 00 00 | 00 11 00 01 | 10 00 01 10 11",
    "01 11 | 01 11 11 | 10 10 11 10 | 11 01 11 10 00",
    "11 11 | 10 10 01 | 00 10 11 11 | 01 10 10 00 01",
    "01 11 | 11 11 01 | 01 11 01 01 | 11 11 01 10 10",
    "01 11 | 11 11 11 | 01 00 01 10 | 10 11 10 10 11",
    "11 11 | 00 11 11 | 01 00 01 10 | 00 11 01 11 11",
    "11 11 | 01 11 11 | 10 11 10 10 | 10 10 10 11 11",
    "10 11 | 01 11 11 | 01 11 00 11 | 11 00 10 00 01",
    "11 10 | 11 11 11 | 11 11 10 11 | 00 11 01 11 11",
    "11 11 | 01 01 11 | 11 01 00 00 | 10 00 01 01 11",
)
"""The codes of the 20 cells of RobNet-free."""


def robnet_cell(code: str) -> Cell:
    """Returns the cell that a code stands for.

    Arguments:
        code: for each edge of the search cell, in the order of `EDGES`, two bits: 00 nothing, 01 a separable 3x3
            convolution, 10 the identity, 11 the sum of both. White space and `|` separate edges.

    Raises:
        UsageError: this is no such code, or it leaves a node without edges.

    >>> print(robnet_cell("11 00 | 01 00 00 | 10 00 00 00 | 01 00 00 00 00"))
    skip_connect<-0 sep_conv_3x3<-0 | sep_conv_3x3<-0 | skip_connect<-0 | sep_conv_3x3<-0 -> concat 2-5
    """
    edges = code.replace("|", " ").split()
    if len(edges) != len(EDGES) or not set(edges) <= {"00", "01", "10", "11"}:
        raise UsageError(f"A RobNet's code must be {len(EDGES)} times 00, 01, 10 or 11. Received: {code!r}.")
    operations = ("skip_connect", "sep_conv_3x3")
    nodes = range(INPUTS, INPUTS + NODES)
    return Cell(
        tuple(
            tuple(
                Edge(operation, EDGES[index][0])
                for index in edges_into(node)
                for operation, bit in zip(operations, edges[index], strict=True)
                if bit == "1"
            )
            for node in nodes
        ),
        tuple(nodes),
    )


@keras.saving.register_keras_serializable("racl_tf")
class RobNet(CellNetwork):
    """RobNet (Guo et al., When NAS Meets Robustness, CVPR 2020): normal and reduction cells made from codes.

    It is stacked like the network of a genotype, but as published its cells may all differ, and their normalisations
    have neither scale nor shift: these stay 1 and 0. With 36 channels and 20 cells RobNet-small has 4,359,574
    trainable parameters for 10 classes, RobNet-large 6,842,710, RobNet-free 5,439,790; of RobNet-medium no code is
    known. Differences from the published code: mean and standard deviation are taken off inside, and nothing is
    computed for an edge that is 00.

    Arguments:
        codes: one code for all cells, or one for each; `robnet_cell` says what they mean.
        spec: what the images are, an `ImageSpec` such as `dataset.spec`, or the number of classes alone.
        channels: of a node before the first reduction.
        cells: the depth; cells `cells // 3` and `2 * cells // 3` are reduction cells.
        kwargs: what `ImageNetwork` takes: the `seed` of the initial weights, or `input_shape`, `mean` and `std`.

    Raises:
        UsageError: a code is not valid, there are more or fewer than cells, or an argument is out of its range.

    >>> network = RobNet(LARGE_V1, 10, channels=4, cells=3, input_shape=(8, 8, 1))
    >>> network(tf.zeros([2, 8, 8, 1])).shape
    TensorShape([2, 10])
    """

    def __init__(
        self,
        codes: str | Sequence[str],
        spec: ImageSpec | int | None = None,
        *,
        channels: int = 36,
        cells: int = 20,
        **kwargs: Any,
    ) -> None:
        self.codes = codes if isinstance(codes, str) else tuple(codes)
        if not isinstance(codes, str) and len(codes) != cells:
            raise UsageError(
                f"`codes` must be one for all cells, or one for each cell. Received: {len(codes)} codes, cells={cells}."
            )
        super().__init__(spec, channels=channels, cells=cells, **kwargs)

    def make_cell(self, plan: CellPlan) -> GenotypeCell:
        code = self.codes if isinstance(self.codes, str) else self.codes[len(self.cells)]
        return GenotypeCell(robnet_cell(code), **plan._asdict(), affine="fixed", dtype=self.dtype_policy)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the logits (batch, num_classes) of images in [0, 1]."""
        before = state = self.stem(self.normalize(inputs), training=training)
        for cell in self.cells:
            before, state = state, cell([before, state], training=training)
        return self.classify(state)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "codes": self.codes}

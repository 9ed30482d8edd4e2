"""What an edge of a cell computes."""

import keras

from racl_tf.layers.spectral import Size


class Operation(keras.layers.Layer):
    """A layer that an edge of a cell can hold, and that knows its Lipschitz constant.

    A subclass is made as `Subclass(channels, stride=..., affine=..., seed=..., dtype=...)`, or by a function that
    takes these, named in `OPERATION_LAYERS`.
    """

    def lipschitz_norm(self, norm_kind: str = "matrix") -> float:
        """Returns lambda_o (Section 2.2), the product of the kernels' norms, exactly.

        Arguments:
            norm_kind: of a depthwise kernel, "matrix" or "operator" (see `racl_tf.lipschitz.OperationNorms`).
        """
        raise NotImplementedError(f"No norm is known of {type(self).__name__}.")

    def lipschitz_bound(self, size: Size) -> float:
        """Returns an upper bound of the Lipschitz constant at inference, in L2 over all pixels and channels.

        The normalisation is part of it: its factors scale the rows of the matrix before it. ReLU has the constant 1.

        Arguments:
            size: (height, width) of the inputs.
        """
        raise NotImplementedError(f"No bound is known of {type(self).__name__}.")

"""The one backend of Keras that racl_tf runs on."""

import keras


def require_tensorflow() -> None:
    """Refuses another backend of Keras than TensorFlow.

    Raises:
        ImportError: with what to set.
    """
    if keras.config.backend() != "tensorflow":
        raise ImportError(
            f"racl_tf runs on Keras's TensorFlow backend. Received: the backend {keras.config.backend()!r}. "
            "Set the environment variable KERAS_BACKEND=tensorflow before Python starts."
        )

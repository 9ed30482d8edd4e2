"""What a network has to know of its images: how many classes, of which shape, and how to normalise them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from racl_tf.errors import UsageError, check_positive


@dataclass(frozen=True, init=False)
class ImageSpec:
    """The images that a network is for, as one value: `Dataset.spec` gives those of a data set.

    Arguments:
        num_classes: the number of logits.
        input_shape: (height, width, 1 or 3) of the images.
        mean: of the pixels in [0, 1], one number or one per channel; held as one per channel.
        std: likewise, positive.

    Raises:
        UsageError: an argument is out of its range.

    >>> ImageSpec(10, input_shape=(28, 28, 1), mean=0.13, std=0.31)
    ImageSpec(num_classes=10, input_shape=(28, 28, 1), mean=(0.13,), std=(0.31,))
    """

    num_classes: int
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __init__(
        self,
        num_classes: int = 10,
        *,
        input_shape: tuple[int, int, int] = (32, 32, 3),
        mean: float | tuple[float, ...] = 0.0,
        std: float | tuple[float, ...] = 1.0,
    ) -> None:
        check_positive(num_classes=num_classes)
        if len(input_shape) != 3 or input_shape[-1] not in (1, 3) or min(input_shape) < 1:
            raise UsageError(
                "`input_shape` must be (height, width, channels) with 1 or 3 channels. "
                f"Received: input_shape={tuple(input_shape)!r}."
            )
        channels = input_shape[-1]
        means, deviations = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
        if min(deviations) <= 0:
            raise UsageError(f"`std` must be positive. Received: std={std!r}.")
        values = {"num_classes": num_classes, "input_shape": tuple(input_shape), "mean": means, "std": deviations}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_arguments(cls, spec: Self | int | None, arguments: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Returns the spec that a network's arguments describe, and its other arguments.

        Arguments:
            spec: a spec, a number of classes, or neither.
            arguments: by keyword; those that are an `ImageSpec`'s describe the images where `spec` is not given as one.

        Raises:
            UsageError: an argument is out of its range, or describes what `spec` says already.

        >>> ImageSpec.from_arguments(10, {"input_shape": (8, 8, 1), "channels": 4})
        (ImageSpec(num_classes=10, input_shape=(8, 8, 1), mean=(0.0,), std=(1.0,)), {'channels': 4})
        """
        names = [field.name for field in fields(cls)]
        described = {name: value for name, value in arguments.items() if name in names}
        others = {name: value for name, value in arguments.items() if name not in names}
        if isinstance(spec, cls):
            if described:
                raise UsageError(f"`spec` says what the images are. Leave out {', '.join(described)}.")
            return spec, others
        if spec is not None:
            if "num_classes" in described:
                raise UsageError(
                    f"Received two numbers of classes: {spec!r} and {described['num_classes']!r}. Give one."
                )
            described["num_classes"] = spec
        return cls(**described), others


def _per_channel(name: str, value: float | tuple[float, ...], channels: int) -> tuple[float, ...]:
    values = (float(value),) * channels if isinstance(value, int | float) else tuple(map(float, value))
    if len(values) != channels:
        raise UsageError(f"`{name}` must be one number or one for each of {channels} channels. Received: {value!r}.")
    return values

"""The defences by name. A new one takes its file and a line here."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from racl_tf.defences.adp import ADP
from racl_tf.defences.adversarial_training import fgsm_rs, pgd, plain
from racl_tf.defences.confidence_gap import ConfidenceGap
from racl_tf.defences.defence import Defence
from racl_tf.defences.free import free
from racl_tf.defences.trades import trades
from racl_tf.errors import unknown

DEFENCES: Mapping[str, Callable[..., Defence]] = MappingProxyType(
    {
        "none": plain,
        "pgd": pgd,
        "fgsm_rs": fgsm_rs,
        "free": free,
        "trades": trades,
        "adp": ADP,
        "l2nnn": ConfidenceGap,
    }
)
"""What makes each defence, from those arguments of `make_defence` that it takes."""


def make_defence(name: str, *, eps: float, step_size: float, steps: int, norm: str = "linf", **options: Any) -> Defence:
    """Returns the defence of a name against a threat, for `AdversarialTrainer`.

    Arguments:
        name: a name in `DEFENCES`.
        eps: radius of the ball in units of pixels in [0, 1]; those trained on clean images leave the threat aside.
        step_size: length of a step of the attack trained against, in the same units; fgsm_rs and free have their own.
        steps: the number of these steps; fgsm_rs makes one, and those of free are its replays.
        norm: "linf" or "l2".
        options: what this defence takes besides: see its own function or class.

    Raises:
        UsageError: the name or an option is unknown, or an argument is out of its range.

    >>> make_defence("trades", eps=8 / 255, step_size=2 / 255, steps=10).beta
    6.0
    """
    if name not in DEFENCES:
        raise unknown("defence", name, DEFENCES)
    takes = inspect.signature(DEFENCES[name]).parameters
    threat = {"eps": eps, "step_size": step_size, "steps": steps, "norm": norm}
    for option in options:
        if option not in takes:
            raise unknown(f"option of {name}", option, [known for known in takes if known not in threat])
    return DEFENCES[name](**{key: value for key, value in threat.items() if key in takes}, **options)

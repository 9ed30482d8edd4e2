"""AutoAttack: the ensemble that robust accuracies are compared by (Croce and Hein, 2020, arXiv 2003.01690)."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from racl_tf.attacks.apgd import APGD
from racl_tf.attacks.attack import Attack
from racl_tf.attacks.fab import FAB
from racl_tf.attacks.square import Square
from racl_tf.errors import unknown

MEMBERS: Mapping[str, Callable[..., Attack]] = MappingProxyType(
    {
        "apgd": APGD,
        "apgd_dlr": partial(APGD, loss="dlr"),
        "apgd_t": partial(APGD, loss="dlr", targets=9),
        "apgd_margin": partial(APGD, loss="margin"),
        "apgd_t_margin": partial(APGD, loss="margin", targets=9),
        "fab": FAB,
        "square": partial(Square, rescale=False),
    }
)
"""The attacks that AutoAttack consists of, by the names that they have in `ATTACKS`; on few classes on the margin."""

VERSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"standard": ("apgd", "apgd_t", "fab", "square"), "rand": ("apgd", "apgd_dlr")}
)
"""Its versions, by their members."""

EOT = 20  # evaluations that each gradient is the mean of, for models that are random


def autoattack(eps: float, norm: str = "linf", *, version: str = "standard", loss: str = "dlr") -> tuple[Attack, ...]:
    """Returns the attacks of AutoAttack, which an evaluation makes one after the other, on robust images alone.

    "standard", which robustness leaderboards report, is Auto-PGD on cross-entropy, targeted Auto-PGD on the DLR
    loss and targeted FAB, 100 steps for each of 9 targets, and Square with 5000 queries. "rand" is for
    models that are random at inference: Auto-PGD on cross-entropy and on the DLR loss, each gradient the mean of 20.

    Arguments:
        eps: radius of the ball in units of pixels in [0, 1]; in (0, 1] for "linf", positive for "l2".
        norm: a name in `NORMS`, "linf" or "l2".
        version: a name in `VERSIONS`.
        loss: of the second attack. DLR needs 4 classes ("rand": 3); with fewer take "margin".

    Raises:
        UsageError: for a value outside its range or an unknown name.

    >>> [type(attack).__name__ for attack in autoattack(8 / 255)]
    ['APGD', 'APGD', 'FAB', 'Square']
    """
    if version not in VERSIONS:
        raise unknown("version of AutoAttack", version, VERSIONS)
    options: dict[str, Any] = {"norm": norm} | ({"eot": EOT} if version == "rand" else {})
    first, second, *others = (MEMBERS[name] for name in VERSIONS[version])
    return first(eps, **options), second(eps, loss=loss, **options), *(member(eps, **options) for member in others)

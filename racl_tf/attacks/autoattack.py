"""AutoAttack: the ensemble that robust accuracies are compared by (Croce and Hein, 2020, arXiv 2003.01690)."""

from racl_tf.attacks.apgd import APGD
from racl_tf.attacks.attack import Attack
from racl_tf.attacks.fab import FAB
from racl_tf.attacks.square import Square
from racl_tf.errors import unknown

VERSIONS = ("standard", "rand")


def autoattack(eps: float, norm: str = "linf", *, version: str = "standard", loss: str = "dlr") -> tuple[Attack, ...]:
    """Returns the attacks of AutoAttack, which an evaluation makes one after the other on what still stands.

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
    if version == "rand":
        return APGD(eps, norm=norm, eot=20), APGD(eps, norm=norm, loss=loss, eot=20)
    return (
        APGD(eps, norm=norm),
        APGD(eps, norm=norm, loss=loss, targets=9),
        FAB(eps, norm=norm),
        Square(eps, norm=norm, rescale=False),
    )

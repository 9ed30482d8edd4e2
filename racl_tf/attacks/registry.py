"""The attacks by name: the constructors of the usual ones and the suite that results are reported on."""

import re
from typing import Any

from racl_tf.attacks.apgd import APGD
from racl_tf.attacks.attack import Attack
from racl_tf.attacks.autoattack import autoattack
from racl_tf.attacks.gradient import GradientAttack
from racl_tf.errors import unknown


def fgsm(eps: float, norm: str = "linf", **options: Any) -> GradientAttack:
    """Returns the fast gradient method: one step of length eps from the clean image (Goodfellow et al., 2015)."""
    return GradientAttack(eps, eps, 1, norm=norm, **options)


def pgd(eps: float, step_size: float, steps: int, *, random_start: bool = True, **options: Any) -> GradientAttack:
    """Returns projected gradient descent from a random start in the ball (Madry et al., 2018)."""
    return GradientAttack(eps, step_size, steps, random_start=random_start, **options)


def mim(eps: float, step_size: float, steps: int, *, decay: float = 1.0, **options: Any) -> GradientAttack:
    """Returns the momentum iterative method, from the clean image (Dong et al., 2018)."""
    return GradientAttack(eps, step_size, steps, decay=decay, **options)


def standard_suite(eps: float, step_size: float, norm: str = "linf") -> dict[str, GradientAttack]:
    """Returns the attacks of the paper's evaluation (Section 3.2, in L-infinity) by their names.

    >>> list(standard_suite(8 / 255, 2 / 255))
    ['fgsm', 'mim', 'pgd10', 'pgd20', 'pgd100']
    """
    return {
        "fgsm": fgsm(eps, norm=norm),
        "mim": mim(eps, eps / 10, 10, norm=norm),
        "pgd10": pgd(eps, eps / 10, 10, norm=norm),
        "pgd20": pgd(eps, step_size, 20, norm=norm),
        "pgd100": pgd(eps, step_size, 100, norm=norm),
    }


def make_attack(name: str, eps: float, step_size: float, norm: str = "linf") -> tuple[Attack, ...]:
    """Returns the attack of that name, or the attacks of an ensemble.

    Known are those of `standard_suite`, "mimN" (N steps of eps / N), "pgdN" (N steps of `step_size`), "autoattack",
    "autoattack_rand" (for models that are random at inference) and AutoAttack's parts: "apgd" (on cross-entropy),
    "apgd_dlr", "apgd_t" (on targeted DLR), "fab" and "square".

    Raises:
        UsageError: for any other name; the nearest is suggested.

    >>> make_attack("pgd7", 8 / 255, 2 / 255)[0].steps
    7
    """
    suite: dict[str, tuple[Attack, ...]] = {
        name: (attack,) for name, attack in standard_suite(eps, step_size, norm).items()
    }
    suite |= {"autoattack": autoattack(eps, norm), "autoattack_rand": autoattack(eps, norm, version="rand")}
    suite |= zip(("apgd", "apgd_t", "fab", "square"), ((part,) for part in suite["autoattack"]), strict=True)
    suite |= {"apgd_dlr": (APGD(eps, norm=norm, loss="dlr"),)}
    if name in suite:
        return suite[name]
    found = re.fullmatch(r"(mim|pgd)([1-9]\d*)", name)
    if not found:
        raise unknown("attack", name, suite)
    steps = int(found[2])
    return (mim(eps, eps / steps, steps, norm=norm) if found[1] == "mim" else pgd(eps, step_size, steps, norm=norm),)

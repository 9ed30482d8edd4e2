"""The attacks by name, and the suite that results are reported on. A new one takes its file and a line here."""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from racl_tf.attacks.attack import Attack
from racl_tf.attacks.autoattack import MEMBERS, autoattack
from racl_tf.attacks.carlini_wagner import CarliniWagner
from racl_tf.attacks.gradient import GradientAttack, fgsm, mim, pgd
from racl_tf.errors import UsageError, unknown


def _paper_mim(eps: float, steps: int = 10, *, norm: str) -> GradientAttack:
    return mim(eps, eps / steps, steps, norm=norm)


def _paper_pgd10(eps: float, *, norm: str, eot: int = 1) -> GradientAttack:
    return pgd(eps, eps / 10, 10, norm=norm, eot=eot)


ATTACKS: Mapping[str, Callable[..., Attack | tuple[Attack, ...]]] = MappingProxyType(
    {
        "fgsm": fgsm,
        "mim": _paper_mim,
        "pgd10": _paper_pgd10,
        "pgd": pgd,
        "cw": partial(pgd, loss="margin"),
        "cw_l2": CarliniWagner,
        **MEMBERS,
        "autoattack": autoattack,
        "autoattack_rand": partial(autoattack, version="rand"),
        "autoattack_margin": partial(autoattack, loss="margin"),
        "autoattack_rand_margin": partial(autoattack, version="rand", loss="margin"),
    }
)
"""What makes each attack or ensemble, from those of `eps`, `step_size`, `norm`, `steps` and `eot` that it takes."""

_SUITE = ("fgsm", "mim", "pgd10", "pgd20", "pgd100")


def make_attack(name: str, eps: float, step_size: float, norm: str = "linf") -> tuple[Attack, ...]:
    """Returns the attack of that name, or the attacks of an ensemble.

    Arguments:
        name: a name in `ATTACKS`; of an attack that takes `steps`, a number of steps may follow, which "pgd" and "cw"
            need: "pgd20", "mim5", "apgd50". Of one that takes `eot`, also the number of evaluations of a random model
            that each gradient is the mean of: "pgd20_eot10".
        eps: radius of the ball in units of pixels in [0, 1]; in (0, 1] for "linf", positive for "l2".
        step_size: length of a step of PGD, in the same units. The paper's "pgd10" and "mim" have their own, eps / 10,
            as N steps of "mim" have eps / N.
        norm: a name in `NORMS`, "linf" or "l2".

    Raises:
        UsageError: for any other name, of which the nearest is suggested, a number of steps that is missing, or a
            value outside its range.

    >>> make_attack("pgd7", 8 / 255, 2 / 255)[0].steps
    7
    >>> make_attack("cw20_eot10", 8 / 255, 2 / 255)[0].title
    'GradientAttack margin, mean of 10'
    """
    base, times = _without_eot(name)
    known, steps = _parse(base)
    given = {"eps": eps, "step_size": step_size, "norm": norm} | steps | times
    takes = inspect.signature(ATTACKS[known]).parameters
    if times and "eot" not in takes:
        raise UsageError(
            f"The attack {known!r} takes no mean over evaluations. Received: {name!r}. Of random models, "
            "pgd20_eot10, cw20_eot10, apgd_eot10 and autoattack_rand take it."
        )
    made = ATTACKS[known](**{key: value for key, value in given.items() if key in takes})
    return made if isinstance(made, tuple) else (made,)


def standard_suite(eps: float, step_size: float, norm: str = "linf") -> dict[str, Attack]:
    """Returns the attacks of the paper's evaluation (Section 3.2, in L-infinity) by their names.

    >>> list(standard_suite(8 / 255, 2 / 255))
    ['fgsm', 'mim', 'pgd10', 'pgd20', 'pgd100']
    """
    return {name: make_attack(name, eps, step_size, norm)[0] for name in _SUITE}


def _without_eot(name: str) -> tuple[str, dict[str, int]]:
    """Returns the name without "_eotN", and N if it is there."""
    found = re.fullmatch(r"(.+)_eot([1-9]\d*)", name)
    return (found[1], {"eot": int(found[2])}) if found else (name, {})


def _parse(name: str) -> tuple[str, dict[str, Any]]:
    """Returns the name in `ATTACKS` and the number of steps, if there is one."""
    steps = {known: inspect.signature(make).parameters.get("steps") for known, make in ATTACKS.items()}
    complete = [known for known, taken in steps.items() if taken is None or taken.default is not taken.empty]
    if name in complete:
        return name, {}
    found = re.fullmatch(r"(.+?)([1-9]\d*)", name)
    if found and steps.get(found[1]):
        return found[1], {"steps": int(found[2])}
    if name in ATTACKS:
        raise UsageError(f"The attack {name!r} needs a number of steps behind its name, such as '{name}20'.")
    raise unknown("attack", name, dict.fromkeys((*_SUITE, *complete)))

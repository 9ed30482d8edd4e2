"""Every figure that the paper prints, as it prints it (Dong, Li, Wang and Xu, arXiv 2009.00902v1).

Accuracies are in percent, numbers of parameters in millions. "AT:" columns are of networks trained adversarially, by
PGD of 7 steps. Figures are context, never pass marks: seeds, repetitions and intervals are not given, and the paper
contradicts itself:

* PGD-20 on RACL is 49.34 in Table 1 and Section 3.2 (41.92 to 49.34: 7.42), but 49.43 in Section 3.4, whose sum (the
  gap to DARTS grows by 0.26 from PGD-20 to PGD-100) holds for 49.43 alone.
* Tables 3 to 5 print PGD-10: 53.29 on RACL, in Table 4 rounded and called PGD. The five networks that have both stand
  3.7 to 6.1 points better under PGD-10 than under PGD-20, while from 20 to 100 steps RACL and DARTS lose at most 0.65.
  That fits PGD-10 in steps of eps/10, as without adversarial training, against PGD-20 in steps of 2/255.
* MIM without adversarial training: Section 3.2 has RACL better than PC-DARTS by 3.56, Table 1 by 3.47 (4.68 and 1.21).
* Table 2: RACL is said to be best under all three attacks; under FGSM PC-DARTS has the same 82.8.

Of the curves in Figure 3 only the points that Section 3.4 puts in numbers are given. Of RobNet under PGD-100 it gives
differences alone: RACL is better than RobNet-small by 0.97 and than RobNet-medium by 0.08.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

Figures = Mapping[tuple[str, str], float]
"""Figures by row and column."""


def _table(columns: Sequence[str], rows: Mapping[str, Sequence[float | None]]) -> Figures:
    return MappingProxyType(
        {
            (row, column): figure
            for row, figures in rows.items()
            for column, figure in zip(columns, figures, strict=True)
            if figure is not None
        }
    )


# White-box attacks on CIFAR-10, eps 8/255: Table 1.
TABLE_1 = _table(
    ("Params (M)", "AT: Clean", "AT: FGSM", "AT: MIM", "AT: PGD-20", "Clean", "FGSM", "MIM", "PGD-10"),
    {
        "ResNet-18": (11.2, 78.38, 49.81, 45.23, 45.60, 89.94, 50.16, 0.14, 0.00),
        "DenseNet-121": (7.0, 82.72, 54.14, 48.19, 47.93, 93.77, 61.53, 4.23, 0.11),
        "AmoebaNet": (3.2, 83.41, 56.40, 47.60, 39.47, 97.39, 44.79, 0.80, 0.25),
        "NASNet": (3.8, 83.66, 55.67, 53.05, 48.02, 97.37, 47.53, 1.01, 0.42),
        "DARTS": (3.3, 83.75, 55.75, 51.63, 44.91, 97.43, 42.48, 0.28, 0.12),
        "PC-DARTS": (3.6, 83.94, 52.67, 49.09, 41.92, 97.32, 49.18, 1.21, 0.18),
        "RobNet-small": (4.4, 78.05, 53.93, 48.98, 48.32, None, None, None, None),
        "RobNet-medium": (5.7, 78.33, 54.55, 49.34, 49.13, None, None, None, None),
        "RACL": (3.6, 83.89, 57.44, 54.73, 49.34, 97.44, 50.53, 4.68, 1.93),
    },
)

# Images crafted on VGG-19, CIFAR-10: Table 2.
TABLE_2 = _table(
    ("FGSM", "MIM", "PGD-10"),
    {
        "AmoebaNet": (82.2, 81.5, 82.4),
        "NASNet": (82.4, 82.1, 82.7),
        "DARTS": (81.5, 81.2, 82.6),
        "PC-DARTS": (82.8, 82.3, 83.0),
        "RACL": (82.8, 82.5, 83.3),
    },
)

# Images crafted on a source (row) by PGD-10 and shown to a target (column), CIFAR-10: Table 3.
TABLE_3 = _table(
    ("AmoebaNet", "NASNet", "DARTS", "PC-DARTS", "RACL"),
    {
        "AmoebaNet": (45.59, 68.25, 68.37, 68.82, 69.19),
        "NASNet": (64.62, 51.72, 65.61, 64.41, 66.10),
        "DARTS": (63.97, 65.40, 49.53, 64.65, 66.03),
        "PC-DARTS": (65.40, 65.92, 66.50, 47.36, 67.09),
        "RACL": (64.99, 65.43, 65.83, 64.78, 53.29),
    },
)

# Defences under PGD, eps 8/255 and for MNIST 76.5/255: Table 4.
TABLE_4 = _table(
    ("CIFAR-10", "CIFAR-100", "MNIST"),
    {
        "PGD-AT": (46.2, 23.2, 98.0),
        "L2NNN": (42.5, None, 92.4),
        "ADP": (48.4, 18.1, 82.8),
        "TRADES": (51.0, 27.3, 98.7),
        "RACL": (53.3, 27.8, 99.5),
    },
)

# RACL by settings of its search, CIFAR-10: Table 5.
TABLE_5 = _table(
    ("Clean", "FGSM", "MIM", "PGD-10"),
    {
        "without confidence learning": (84.09, 55.50, 50.48, 48.12),
        "eta 0.9, rho 0.01": (78.71, 53.40, 49.47, 51.23),
        "eta 0.9, rho 0.0001": (85.24, 55.54, 48.64, 45.54),
        "eta 0.7, rho 0.001": (82.15, 55.60, 51.42, 51.17),
        "eta 0.9, rho 0.001": (83.89, 57.44, 54.73, 53.29),
    },
)

# PGD of more steps, eps 8/255, CIFAR-10: Figure 3 (a), as far as Section 3.4 states it.
FIGURE_3 = _table(
    ("PGD-20", "PGD-100"),
    {
        "DARTS": (44.91, 44.26),
        "RACL": (49.43, 49.04),
    },
)

# What `racl_tf.settings.WSR` gave its authors: their README has it as a picture, and the code of their tests the rest.
WSR = (
    "The recipe is that of Wsr-NAS, whose README has for RACL's cell, trained by it again: 80.7 natural, 47.9 under "
    "PGD of eps 0.03 and 57.7 under FGSM. Their PGD, of 20 steps, is crafted on the network in training mode, here in "
    "inference mode, and their epoch is the one that classifies most test images right, here the last."
)

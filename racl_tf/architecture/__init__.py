"""The distribution of architectures, its Lipschitz constant (Eqs. 8 to 12) and the constraint on it (Eqs. 13 to 19)."""

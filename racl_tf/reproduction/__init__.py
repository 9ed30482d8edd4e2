"""The experiments of the paper, and what it printed of them."""

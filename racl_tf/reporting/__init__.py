"""What a run shows of itself: genotypes, searches, sweeps and transfers as pictures, genotypes as text."""

from racl_tf.reporting.drawing import draw_genotype
from racl_tf.reporting.search_plot import plot_search
from racl_tf.reporting.sweep_plot import plot_sweeps
from racl_tf.reporting.text import render_text, to_dot
from racl_tf.reporting.transfer_plot import plot_transfer

__all__ = ["draw_genotype", "plot_search", "plot_sweeps", "plot_transfer", "render_text", "to_dot"]

"""What a run shows of itself: genotypes, searches, sweeps, transfers and tables as pictures or text."""

from racl_tf.reporting.comparison import Comparison, Measured
from racl_tf.reporting.comparison_plot import plot_comparison
from racl_tf.reporting.drawing import draw_genotype
from racl_tf.reporting.search_plot import plot_search
from racl_tf.reporting.sweep_plot import plot_sweeps
from racl_tf.reporting.text import render_text, to_dot
from racl_tf.reporting.transfer_plot import plot_transfer

__all__ = [
    "Comparison",
    "Measured",
    "draw_genotype",
    "plot_comparison",
    "plot_search",
    "plot_sweeps",
    "plot_transfer",
    "render_text",
    "to_dot",
]

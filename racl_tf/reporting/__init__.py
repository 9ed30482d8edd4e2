"""What a run shows of itself: a genotype as a picture, as a graph in DOT and as a table."""

from racl_tf.reporting.drawing import draw_genotype
from racl_tf.reporting.search_plot import plot_search
from racl_tf.reporting.text import render_text, to_dot

__all__ = ["draw_genotype", "plot_search", "render_text", "to_dot"]

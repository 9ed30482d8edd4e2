"""What a run shows of itself: genotypes, searches, sweeps, transfers and tables as pictures or text."""

from racl_tf.reporting.drawing import draw_genotype
from racl_tf.reporting.model_card import render_model_card
from racl_tf.reporting.paper_table import Measured, PaperTable
from racl_tf.reporting.paper_table_plot import plot_paper_table
from racl_tf.reporting.report import render_report
from racl_tf.reporting.run_record import RunRecord, find_runs
from racl_tf.reporting.search_plot import plot_search, plot_weights
from racl_tf.reporting.sweep_plot import plot_sweeps
from racl_tf.reporting.text import render_text, to_dot
from racl_tf.reporting.training_plot import plot_training
from racl_tf.reporting.transfer_plot import plot_transfer

__all__ = [
    "Measured",
    "PaperTable",
    "RunRecord",
    "draw_genotype",
    "find_runs",
    "plot_paper_table",
    "plot_search",
    "plot_sweeps",
    "plot_training",
    "plot_transfer",
    "plot_weights",
    "render_model_card",
    "render_report",
    "render_text",
    "to_dot",
]

"""The search: distributions of architectures, the constraint on them, the training step, and what it found."""

from racl_tf.search.architecture import Architecture
from racl_tf.search.callbacks import ArchitectureLog, StepFile, WarmUp
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.modes import SEARCH_MODES, SearchMode, search_mode
from racl_tf.search.point_architecture import PointArchitecture
from racl_tf.search.racl_search import RACLSearch
from racl_tf.search.sampling import draw_genotypes, sample_architectures
from racl_tf.search.sampling_result import SampledArchitecture, SamplingResult
from racl_tf.search.statistics import architecture_statistics, choices_kept, constraint_statistics
from racl_tf.search.summary import SearchSummary

__all__ = [
    "SEARCH_MODES",
    "Architecture",
    "ArchitectureLog",
    "ConfidenceConstraint",
    "LogNormalArchitecture",
    "PointArchitecture",
    "RACLSearch",
    "SampledArchitecture",
    "SamplingResult",
    "SearchMode",
    "SearchSummary",
    "StepFile",
    "WarmUp",
    "architecture_statistics",
    "choices_kept",
    "constraint_statistics",
    "draw_genotypes",
    "sample_architectures",
    "search_mode",
]

"""Trained classifiers in the formats that others serve: SavedModel, ONNX, LiteRT."""

from racl_tf.export.litert import export_litert, verify_litert
from racl_tf.export.onnx import export_onnx, verify_onnx
from racl_tf.export.saved_model import export_saved_model, holds_weights, verify_saved_model

__all__ = [
    "export_litert",
    "export_onnx",
    "export_saved_model",
    "holds_weights",
    "verify_litert",
    "verify_onnx",
    "verify_saved_model",
]

"""The version, read by setup.py and recorded in every run."""

__version__ = "0.1.0"

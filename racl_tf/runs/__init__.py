"""A run: search, training, evaluation and export as functions of a configuration and a folder."""

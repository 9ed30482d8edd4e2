"""Configurations by name, one for each data set, with variants."""

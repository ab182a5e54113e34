"""Medicaid accountable-care settlement: the domain. Start reading at `pipeline`."""

__version__ = "0.1.0"

METHOD_VERSION = "2"
"""Changes when the same inputs would give other numbers: part of every digest."""

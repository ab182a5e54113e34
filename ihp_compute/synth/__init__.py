"""A synthetic state in the input layout, with its known answers beside it.

Decides: people, providers, claims, and the damage that is planted. Imports nothing that it tests.
"""

from __future__ import annotations

from ihp_compute.synth.effects import EFFECTS
from ihp_compute.synth.people import N_PARTNERSHIPS
from ihp_compute.synth.state import synth

__all__ = [
    "EFFECTS",
    "N_PARTNERSHIPS",
    "synth",
]

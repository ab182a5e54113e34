"""A state's own weights for a risk model, fitted to what its own claims cost.

Decides: regression, credibility of each weight, cross-validation. Leaves to others: what a member
cost (`measure`), what a model is (`risk.models`).
"""

from __future__ import annotations

from ihp_compute.calibration.files import CalibrationRequest, calibrate_population
from ihp_compute.calibration.fit import UNWEIGHTED
from ihp_compute.calibration.predictors import PREDICTORS

__all__ = [
    "PREDICTORS",
    "UNWEIGHTED",
    "CalibrationRequest",
    "calibrate_population",
]

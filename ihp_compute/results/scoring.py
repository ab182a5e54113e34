"""How a risk model scored the years of a run, in words, from what its manifest says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ihp_compute.contracts import NONE

_CLAIMS: Final = {
    "risk_adjustable": "diagnoses of stays, outpatient and professional claims",
    "list": "diagnoses of stays, and of claims with a procedure on a list",
}


def scoring_words(model: Mapping[str, Any]) -> str:
    """Timing, years of codes, payment year and map, and who has no score; empty without a model.

    >>> year = {"year": 2025, "codes_of": 2024, "version": "V28, payment year 2025"}
    >>> scoring_words({"timing": "prospective", "minimum_months": 6, "years": [year]})
    'prospective, 2025 by codes of 2024 (V28, payment year 2025); under 6 months no score'
    """
    if model.get("timing", NONE) == NONE:
        return ""
    years = list(model["years"])
    versions = dict.fromkeys(year["version"] for year in years)
    each = [
        f"{year['year']} by codes of {year['codes_of']}"
        + (f" ({year['version']})" if len(versions) > 1 else "")
        for year in years
    ]
    one = f" ({next(iter(versions))})" if len(versions) == 1 else ""
    months = model.get("runout_months")
    more = [
        f"under {model.get('minimum_months')} months no score"
        if model.get("minimum_months")
        else "",
        "newborns without a birth code no score" if model.get("newborn") == "missing" else "",
        "" if model.get("code_edits", True) else "ages of the code editor not tested",
        _CLAIMS.get(model.get("diagnoses_from", ""), ""),
        "" if months is None else f"codes paid within {months} months of their year",
    ]
    return "; ".join(filter(None, (f"{model['timing']}, {', '.join(each)}{one}", *more)))

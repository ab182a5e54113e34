"""Which terms a contract has, and what each may be: the vocabulary, not the values.

Every path below exists in every contract; `none` is a value where it is allowed and means that the
agreement has no such rule. Bands and policy adjustments are named by the contract and addressed by
name: `settlement.gain.bands.inner.below`, `target.policy.fee_schedule`.

Not here: what an agreement says (`contracts/*.toml`), how a file is read (`contract`), what a term
does (`target`, `settlement`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Final

from ihp_compute.tables import RATE_CELLS, SERVICE_CATEGORIES

NONE: Final = "none"
SIZE_TABLE: Final = "size_table"
BASES: Final = ("statute", "contract", "published", "recalled", "assumed")
DRAFT_BASES: Final = ("recalled", "assumed")
STEPS: Final = (
    "gate", "counting", "share", "quality", "withhold", "cap", "adjustments", "shadow",
)  # fmt: skip
"""Steps of a settlement; a contract orders them, each at most once, gate first and share always."""

SIDES: Final = ("gain", "loss")


class TermError(ValueError):
    """A value does not fit its term: what was found and what was expected, without the place."""


@dataclass(frozen=True)
class Band:
    """A marginal band of savings or losses: shares `share` of what lies between its edges.

    Edges are ratios of the target, as positive numbers on either side; `below` None is no end.
    """

    name: str
    above: Decimal
    below: Decimal | None
    share: Decimal


@dataclass(frozen=True)
class Kind:
    """What a term may be: its unit, the type of its values and their range.

    `form` is number, flag, choice, names, year, cells, bands or size table.
    """

    meaning: str
    unit: str
    form: str = "number"
    low: Decimal | None = None
    high: Decimal | None = None
    optional: bool = False
    choices: tuple[str, ...] = ()

    def expected(self) -> str:
        """The values allowed, in words."""
        if self.form == "number":
            ends = []
            if self.low is not None:
                ends.append(f"at least {self.low}")
            if self.high is not None:
                ends.append(f"at most {self.high}")
            text = "a number" + (" " + " and ".join(ends) if ends else "")
        elif self.form == "flag":
            text = "true or false"
        elif self.form == "choice":
            text = " or ".join(self.choices)
        elif self.form == "names":
            text = "a list of names among " + ", ".join(self.choices)
        elif self.form == "text":
            text = "a name"
        elif self.form == "year":
            text = "a year from 2000 to 2100"
        elif self.form == "cells":
            text = "a list of rate cells, merged cells joined by +, each of the twelve at most once"
        elif self.form == "bands":
            text = "bands that touch, each with above, below and share"
        else:
            text = "rows [members, rate] with members rising and rates not rising"
        if self.form == "number" and self.choices:
            text += ", " + " or ".join(self.choices)
        return text + (", or none" if self.optional else "")


def _ratio(meaning: str, unit: str = "ratio", *, optional: bool = True, high: int = 1) -> Kind:
    return Kind(meaning, unit, low=Decimal(0), high=Decimal(high), optional=optional)


def _usd(meaning: str, unit: str = "USD", low: int | None = 0) -> Kind:
    return Kind(meaning, unit, low=None if low is None else Decimal(low), optional=True)


def _choice(meaning: str, *choices: str, optional: bool = False) -> Kind:
    return Kind(meaning, "choice", "choice", choices=choices, optional=optional)


def _side(side: str, *, gain: bool) -> dict[str, Kind]:
    at = f"settlement.{side}"
    whose = "gains" if gain else "losses"
    return {
        f"{at}.counting": _choice(
            f"{whose} count from the first dollar once past the gate, or the excess over it",
            "first_dollar",
            "excess",
        ),
        f"{at}.share": Kind(
            f"partnership's share of {whose}"
            + ("" if gain else "; none: one less the final gain share, between floor and ceiling"),
            "ratio",
            low=Decimal(0),
            high=Decimal(1),
            optional=not gain,
        ),
        f"{at}.bands": Kind(
            f"marginal shares of {whose} by their ratio to target; times the share above",
            "ratio of target",
            "bands",
            optional=True,
        ),
        f"{at}.cap_of_target": _ratio(
            f"most of the target that {whose} may pay", "ratio of target"
        ),
        f"{at}.cap_usd": _usd(f"most dollars that {whose} may pay"),
        f"{at}.cap_of_revenue": _ratio(f"most of revenue that {whose} may pay", "ratio of revenue"),
        f"{at}.cap_of_core_cost": _ratio(
            f"most of core cost that {whose} may pay", "ratio of core cost"
        ),
    }


KINDS: Final[Mapping[str, Kind]] = {
    "agreement.first_performance_year": Kind(
        "first performance year, from which contract years count", "year", "year", optional=True
    ),
    "agreement.minimum_members": Kind(
        "fewer members are flagged, never dropped", "members", low=Decimal(0), optional=True
    ),
    "attribution.min_months_continuous": Kind(
        "months in a row that make a person eligible", "months", low=Decimal(0), high=Decimal(12)
    ),
    "attribution.min_months_any": Kind(
        "months in all that make a person eligible", "months", low=Decimal(0), high=Decimal(12)
    ),
    "attribution.exclude": Kind(
        "months that do not count",
        "names",
        "names",
        choices=("dual", "spend_down", "partial_benefit"),
    ),
    "attribution.steps": Kind(
        "which visits attribute, in order",
        "names",
        "names",
        choices=("health_care_home", "primary_care", "specialist"),
    ),
    "attribution.keep_pre_visit": Kind("months before the first visit count", "flag", "flag"),
    "attribution.tie_break": Kind(
        "who wins a tie, in order", "names", "names", choices=("latest_visit", "lowest_id")
    ),
    "cost.amount": _choice(
        "the amount of a line that is cost", "paid", "allowed", "paid_less_third_party"
    ),
    "cost.incurred_by": _choice(
        "the day that puts a line into a year", "claim_end", "claim_start", "line"
    ),
    "cost.zero_paid_encounter": _choice(
        "what an encounter line with zero paid costs", "as_paid", "allowed"
    ),
    "cost.floor_at_zero": Kind("a member's negative year counts as zero", "flag", "flag"),
    "cost.claim_cap": _usd("cost of a member above it is cut", "USD per member per year"),
    "cost.keep_above_cap": _ratio("part of the cost above the cap that is kept"),
    "cost.prorate_cap": Kind("the cap is scaled by months over 12", "flag", "flag"),
    "cost.services": Kind("services that count", "names", "names", choices=SERVICE_CATEGORIES),
    "risk.model": Kind(
        "risk score: supplied, a model's name, or none (everybody 1.000)",
        "name",
        "text",
        optional=True,
    ),
    "risk.normalise": _choice(
        "what the mean risk is divided by, each year",
        "statewide_rate_cell",
        "statewide",
        optional=True,
    ),
    "risk.missing": _choice(
        "a member without a score", "error", "group_average", "demographic_cell"
    ),
    "target.base_pmpm_fixed": _usd("agreed base, not recomputed", "USD per member per month"),
    "target.rate_cells": Kind("strata of the target", "names", "cells"),
    "target.empty_cell": _choice(
        "base of a rate cell without base months", "partnership", "statewide"
    ),
    "target.trend": Kind(
        "expected growth of cost in the year; none: the market's, or none at all",
        "ratio per year",
        low=Decimal("-0.5"),
        high=Decimal(1),
        optional=True,
    ),
    "target.market": _choice(
        "whose risk-adjusted growth is the trend where no trend is set", "comparison", optional=True
    ),
    "target.completion": Kind(
        "paid to date over ultimate, base year", "ratio", low=Decimal("0.01"), high=Decimal(2),
        optional=True,
    ),
    "target.risk_ratio_cap_up": _ratio("most that the risk ratio may raise the target"),
    "target.risk_ratio_cap_down": _ratio("most that the risk ratio may lower the target"),
    "target.risk_ratio_by": _choice(
        "risk ratio of each rate cell, or one of the partnership", "rate_cell", "partnership"
    ),
    "target.rounding": _choice("rounding of the target's PMPM", "cents", optional=True),
    "observed.completion": Kind(
        "paid to date over ultimate, performance year", "ratio", low=Decimal("0.01"),
        high=Decimal(2), optional=True,
    ),
    "settlement.steps": Kind("steps in their order", "names", "names", choices=STEPS),
    "settlement.direction": _choice(
        "shared savings: a gain is paid to the partnership; corridor: a gain is owed by it",
        "shared_savings",
        "corridor",
    ),
    "settlement.gate.gain_rate": Kind(
        "least savings rate that settles a gain; none: gains do not settle",
        "ratio of target",
        low=Decimal(0),
        high=Decimal(1),
        optional=True,
        choices=(SIZE_TABLE,),
    ),
    "settlement.gate.loss_rate": Kind(
        "least loss rate that settles a loss; none: losses do not settle",
        "ratio of target",
        low=Decimal(0),
        high=Decimal(1),
        optional=True,
        choices=(SIZE_TABLE,),
    ),
    "settlement.gate.size_table": Kind(
        "gate by number of members, linear between rows", "ratio of target", "size table",
        optional=True,
    ),
    "settlement.gate.below_gate_share": _ratio(
        "part of the gain share that a gain below the gate still earns"
    ),
    **_side("gain", gain=True),
    **_side("loss", gain=False),
    "settlement.loss.share_floor": _ratio("least loss share where it follows the gain share"),
    "settlement.loss.share_ceiling": _ratio("most loss share where it follows the gain share"),
    "settlement.quality.weight": _ratio("part of a gain that the quality score earns"),
    "settlement.quality.floor": _ratio("a lower score earns no gain"),
    "settlement.quality.loss": _choice(
        "how the score reduces a loss", "one_less_score", optional=True
    ),
    "settlement.withhold.rate": _ratio("withheld or sequestered part of a payment"),
    "settlement.withhold.applies_to": _choice("payments that are withheld from", "gains", "both"),
    "settlement.revenue_usd": _usd("revenue that a cap of revenue refers to"),
    "settlement.core_cost_usd": _usd("core cost that a cap refers to; none: the observed cost"),
    "settlement.adjustments.disaster_usd": Kind(
        "reduces a loss after the cap, to zero at most; nothing to a gain; either sign", "USD",
        optional=True,
    ),
    "settlement.adjustments.other_usd": Kind(
        "added to the payment, positive to the partnership", "USD", optional=True
    ),
    "payers.split": _choice(
        "how the payers share the settlement", "member_months", "cost", optional=True
    ),
}  # fmt: skip
"""Every fixed path, with its kind."""

POLICY: Final = Kind(
    "policy or fee-schedule adjustment of the target", "factor", low=Decimal(0), high=Decimal(10)
)
POLICY_PREFIX: Final = "target.policy."
BAND_FIELDS: Final = ("above", "below", "share")


def kind_of(path: str) -> Kind | None:
    """Kind of a term's path; None if no contract can have it."""
    if path.startswith(POLICY_PREFIX) and path.count(".") == 2:
        return POLICY
    return KINDS.get(path)


def parse(kind: Kind, raw: Any) -> Any:
    """A value as its term holds it, checked.

    Parameters
    ----------
    kind : Kind
    raw : object
        As TOML gives it (Decimal for floats), or text as a table cell gives it.

    Returns
    -------
    Decimal, int, bool, str, tuple or None
        None stands for `none`.

    Raises
    ------
    TermError
        With what was found and what was expected.
    """
    if raw is None or raw == NONE:
        if kind.optional:
            return None
        raise TermError(f"found none, expected {kind.expected()}")
    if kind.form == "number" and raw in kind.choices:
        return raw
    parsers = {
        "number": _number,
        "flag": _flag,
        "choice": _one_of,
        "text": _text,
        "names": _names,
        "year": _year,
        "cells": _cells,
        "bands": _bands,
        "size table": _size_table,
    }
    return parsers[kind.form](kind, raw)


def _wrong(kind: Kind, raw: Any) -> TermError:
    found = str(raw).lower() if isinstance(raw, bool) else str(raw)
    return TermError(f"found {found}, expected {kind.expected()}")


def decimal_of(raw: Any) -> Decimal:
    """A finite Decimal of a TOML number, a float as it prints, or text.

    Raises
    ------
    TermError
        If it is no finite number.
    """
    if isinstance(raw, bool):
        raise TermError(f"found {str(raw).lower()}, expected a number")
    try:
        value = Decimal(repr(raw) if isinstance(raw, float) else raw)
    except (InvalidOperation, TypeError, ValueError):
        raise TermError(f"found {raw}, expected a number") from None
    if not value.is_finite():
        raise TermError(f"found {raw}, expected a finite number")
    return value


def _number(kind: Kind, raw: Any) -> Decimal:
    try:
        value = decimal_of(raw)
    except TermError:
        raise _wrong(kind, raw) from None
    if (kind.low is not None and value < kind.low) or (kind.high is not None and value > kind.high):
        raise _wrong(kind, raw)
    return value


def _flag(kind: Kind, raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if raw in ("true", "false"):
        return bool(raw == "true")
    raise _wrong(kind, raw)


def _one_of(kind: Kind, raw: Any) -> str:
    if raw not in kind.choices:
        raise _wrong(kind, raw)
    return str(raw)


def _text(kind: Kind, raw: Any) -> str:
    if not isinstance(raw, str) or not raw:
        raise _wrong(kind, raw)
    return raw


def _year(kind: Kind, raw: Any) -> int:
    value = decimal_of(raw)
    if value != int(value) or not 2000 <= value <= 2100:
        raise _wrong(kind, raw)
    return int(value)


def _names(kind: Kind, raw: Any) -> tuple[str, ...]:
    names = raw.split(";") if isinstance(raw, str) else raw
    if not isinstance(names, list) or any(name not in kind.choices for name in names):
        raise _wrong(kind, raw)
    if len(set(names)) < len(names):
        raise TermError(f"found a name twice in {raw}, expected each at most once")
    if kind.choices == STEPS:
        _check_steps(names)
    return tuple(names)


def _check_steps(names: list[str]) -> None:
    if not names or names[0] != "gate":
        raise TermError(f"found {', '.join(names)}; expected gate as the first step")
    if "share" not in names:
        raise TermError(f"found {', '.join(names)}; expected a step share")
    share = names.index("share")
    for before in ("counting",):
        if before in names and names.index(before) > share:
            raise TermError(f"found {before} after share; expected it before")
    for after in ("quality", "withhold", "adjustments", "shadow"):
        if after in names and names.index(after) < share:
            raise TermError(f"found {after} before share; expected it after")


def _cells(kind: Kind, raw: Any) -> tuple[str, ...]:
    cells = raw.split(";") if isinstance(raw, str) else raw
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        raise _wrong(kind, raw)
    parts = [part for cell in cells for part in cell.split("+")]
    if not parts or set(parts) - set(RATE_CELLS) or len(set(parts)) < len(parts):
        raise _wrong(kind, raw)
    return tuple(cells)


def _size_table(kind: Kind, raw: Any) -> tuple[tuple[int, Decimal], ...]:
    if isinstance(raw, str):
        raw = [row.split(":") for row in raw.split(";")]
    if (
        not isinstance(raw, list)
        or not raw
        or any(not isinstance(row, list) or len(row) != 2 for row in raw)
    ):
        raise _wrong(kind, raw)
    rows = tuple((int(decimal_of(row[0])), decimal_of(row[1])) for row in raw)
    if any(a[0] >= b[0] or a[1] < b[1] for a, b in pairwise(rows)):
        raise _wrong(kind, raw)
    if any(n < 1 or not 0 <= rate <= 1 for n, rate in rows):
        raise _wrong(kind, raw)
    return rows


def _bands(kind: Kind, raw: Any) -> tuple[Band, ...]:
    if isinstance(raw, str):
        raw = _bands_of_text(raw)
    if not isinstance(raw, dict) or not raw:
        raise _wrong(kind, raw)
    bands = []
    for name, row in raw.items():
        if not isinstance(row, dict):
            raise TermError(f"found {name} = {row}, expected a band with above, below and share")
        unknown = [key for key in row if key not in BAND_FIELDS]
        missing = [key for key in BAND_FIELDS if key not in row]
        if unknown or missing:
            what = f"unknown key {unknown[0]}" if unknown else f"no {missing[0]}"
            raise TermError(f"found {what} in band {name}, expected above, below and share")
        bands.append(
            Band(
                name,
                decimal_of(row["above"]),
                None if row["below"] == NONE else decimal_of(row["below"]),
                decimal_of(row["share"]),
            )
        )
    return check_bands(bands)


def _bands_of_text(text: str) -> dict[str, dict[str, Any]]:
    """Bands of a table cell: `above:below:share;above:below:share`, below may be none."""
    rows = [row.split(":") for row in text.split(";")]
    if any(len(row) != 3 for row in rows):
        raise TermError(f"found {text}, expected above:below:share;above:below:share")
    return {
        f"band_{i}": dict(zip(BAND_FIELDS, (part.strip() for part in row), strict=True))
        for i, row in enumerate(rows, start=1)
    }


def check_bands(bands: list[Band]) -> tuple[Band, ...]:
    """The bands, if they rise and touch.

    Raises
    ------
    TermError
        At a gap, an overlap, a band of negative width or a share outside 0 to 1.
    """
    for band in bands:
        if not 0 <= band.share <= 1:
            raise TermError(f"found share {band.share} in band {band.name}, expected 0 to 1")
        if band.above < 0:
            raise TermError(f"found above {band.above} in band {band.name}, expected at least 0")
        if band.below is not None and band.below < band.above:
            raise TermError(
                f"found band {band.name} from {band.above} to {band.below}, "
                "expected below at least above"
            )
    for inner, outer in pairwise(bands):
        if inner.below is None:
            raise TermError(f"found band {outer.name} beyond the open end of {inner.name}")
        if inner.below != outer.above:
            what = "a gap" if inner.below < outer.above else "an overlap"
            raise TermError(
                f"found {what} between bands {inner.name} (below {inner.below}) and "
                f"{outer.name} (above {outer.above}), expected them to touch"
            )
    return tuple(bands)


def text_of(value: Any) -> str:
    """A value as a contract prints it."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and value and isinstance(value[0], Band):
        return "; ".join(
            f"{b.name} {b.above}–{'∞' if b.below is None else b.below} × {b.share}" for b in value
        )
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return "; ".join(f"{n:,}: {rate}" for n, rate in value)
    if isinstance(value, tuple):
        return ", ".join(value) if value else "nothing"
    return f"{value}"

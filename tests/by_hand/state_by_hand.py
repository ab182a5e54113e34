"""Months, attribution, scores and cost, written from docs/method alone; imports nothing of ours.

From claim rows with fates (`claims_by_hand`) to the sums by group, year and rate cell.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

Row = dict[str, Any]
AIDS = ("child", "adult", "expansion", "disabled", "newborn", "maternity")
CELLS = tuple(f"{aid}_{payer}" for aid in AIDS for payer in ("ffs", "managed"))
WEIGHT = {"dual": 1, "spend_down": 2, "partial_benefit": 4, "limited_benefits": 32}
DUAL, PARTIAL = {"01", "02", "03", "04", "05", "06", "08"}, {"01", "03", "05", "06"}
BEHAVIORAL = ("2084", "101Y", "103", "1041C", "106H", "363LP0808X", "261QM08", "261QR0405X")
PRIMARY = (
    "primary care", "207Q", "207R00000X", "207RG0300X", "208000000X", "2080A0000X", "208D", "363L",
    "363A", "261QF0400X", "261QR1300X", "261QP2300X",
)  # fmt: skip
PAYMENTS, ENCOUNTERS = set("245BDEVXY"), set("3CW")


def month(day: date) -> int:
    return day.year * 12 + day.month - 1


def two(code: Any) -> str:
    return str(code or "").zfill(2)


def whole(value: Fraction) -> int:
    return round(value)  # a fraction is rounded half to even


@dataclass
class Codes:
    """The tables of docs/method/codes.md: eligibility groups and ranges of service categories."""

    aid: dict[str, str]
    ranges: dict[str, list[list[tuple[str, str]]]]
    met: dict[tuple[str | None, int], str | None] = field(default_factory=dict)

    @classmethod
    def read(cls, page: Path) -> Codes:
        text = page.read_text(encoding="utf-8")
        groups, services = (part.split("\n### ")[0] for part in text.split("\n### ")[2:4])
        aid = {
            code: name for name, codes in _lines_of(groups) for code in codes.split(", ")
        }  # fmt: skip
        ranges = {
            name: [_ranges(cell) for cell in cells]
            for name, *cells in _lines_of(services)
            if name != "category"
        }
        return cls(aid, ranges)

    def category(self, code: str | None, column: int) -> str | None:
        """The first category that has a code: among 0 procedures, 1 revenue, 2 bills, 3 places."""
        if (code, column) not in self.met:
            having = (c for c, cells in self.ranges.items() if within(code, cells[column]))
            self.met[code, column] = next(having, None)
        return self.met[code, column]


def _lines_of(text: str) -> list[list[str]]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def _ranges(cell: str) -> list[tuple[str, str]]:
    parts = [part.split(" to ") for part in cell.split(", ") if part]
    return [(part[0], part[-1]) for part in parts]


def within(code: str | None, ranges: list[tuple[str, str]]) -> bool:
    return bool(code) and any(len(str(code)) == len(a) and a <= str(code) <= b for a, b in ranges)


def listed(codes: list[str]) -> list[tuple[str, str]]:
    """A contract's list, as 99201-99205."""
    return [(part[0], part[-1]) for part in (code.split("-") for code in codes)]


@dataclass
class State:
    """What is known of everybody: months, groups and scores of both years."""

    base: int
    year: int
    cutoffs: dict[int, date]
    claims: list[Row]
    months: dict[str, dict[int, tuple[str, str, list[str], bool]]] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()
    cells: dict[tuple[str, int], Counter[str]] = field(default_factory=dict)
    reason: dict[tuple[str, int], str] = field(default_factory=dict)
    group: dict[tuple[str, int], str] = field(default_factory=dict)
    step: dict[tuple[str, int], str] = field(default_factory=dict)
    visits: dict[tuple[str, int], int] = field(default_factory=dict)
    score: dict[tuple[str, int], int] = field(default_factory=dict)

    def counts(self, person: str, at: int) -> bool:
        found = self.months[person].get(at)
        return found is not None and not found[3] and not self.exclude & set(found[2])

    def known(self, row: Row, year: int) -> bool:
        """Whether a row was paid by the cutoff of a year."""
        return row["paid_day"] is None or row["paid_day"] <= self.cutoffs[year]

    def payer_months(self, group: str) -> Counter[str]:
        """Countable months of the performance year by payer."""
        found: Counter[str] = Counter()
        for (person, year), of in self.group.items():
            if of == group and year == self.year:
                at = range(year * 12, year * 12 + 12)
                found.update(self.months[person][m][1] for m in at if self.counts(person, m))
        return found


def earlier(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)


def state_of(
    raw: dict[str, list[Row]], claims: list[Row], codes: Codes, terms: dict[str, Any],
    base: int, year: int, cutoff: date | None = None,
) -> State:  # fmt: skip
    """Everything up to the scores. `claims` get their last fates and categories, in place."""
    readable = [row for row in claims if row["fate"] != "unreadable"]
    newest = max(row["file_day"] for row in readable if row["file_day"])
    paid = [row["paid_day"] for row in readable if row["paid_day"]]
    cutoff = cutoff or max(day for day in paid if day <= newest)
    state = State(base, year, {year: cutoff, base: earlier(cutoff, year - base)}, claims)
    state.exclude = frozenset(terms["attribution.exclude"])
    _enrol(state, raw["eligibility"], codes, readable)
    for row in readable:
        if row["fate"] is None:
            row["fate"] = _standing(state, row)
    _categorise([row for row in readable if row["fate"] == "retained"], codes)
    for person in state.months:
        for of in (base, year):
            _judge(state, person, of, terms)
    _attribute(state, raw["provider_roster"], terms)
    _score(state, raw["risk_score"])
    return state


def _standing(state: State, row: Row) -> str:
    enrolled = state.months.get(row["person_id"])
    if enrolled is None:
        return "unknown_member"
    days = (row["service"], row["start"], row["end"])
    return "retained" if any(month(d) in enrolled for d in days) else "outside_eligibility"


def _enrol(state: State, rows: list[Row], codes: Codes, claims: list[Row]) -> None:
    days = [(row[name], row["paid_day"]) for row in claims for name in ("service", "end")]
    horizon = max(month(day) for day, paid in days if paid and day <= paid)
    by_person: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_person[row["person_id"]].append(row)
    for person, spans in by_person.items():
        at: dict[int, list[tuple]] = defaultdict(list)
        for row in spans:
            start, end = (_day(row[f"enrollment_{name}_date"]) for name in ("start", "end"))
            assert start
            if end and (end > date(2099, 12, 30) or month(end) > horizon + 24):
                end = None
            plan = row["x_mc_plan_id"] or row["plan"] or row["payer"] or ""
            cell = -CELLS.index(_cell(row, month(start), codes))
            flags = _flags(row)
            code = row["x_elgblty_grp_cd"]
            aid = codes.aid.get(two(code))
            said = 2 + AIDS.index(aid) if aid else int(bool(code))
            rank = (start, end or date.max, cell, plan, said, sum(WEIGHT[f] for f in flags))
            last = month(end) if end else max(horizon, month(start))
            for m in range(month(start), last + 1):
                at[m].append((rank, plan, flags, row))
        birth, death = (
            next((d for row in spans if (d := _day(row[name]))), None)
            for name in ("birth_date", "death_date")
        )
        found = {}
        for m, rivals in at.items():
            _, plan, flags, row = max(rivals, key=lambda rival: rival[0])
            cell_name = _cell(row, m, codes)
            beyond = bool((birth and m < month(birth)) or (death and m > month(death)))
            payer = plan if cell_name.endswith("managed") else "ffs"
            found[m] = (cell_name, payer, flags, beyond)
        state.months[person] = found


def _day(value: Any) -> date | None:
    return date.fromisoformat(str(value)[:10]) if value else None


def _yes(value: Any) -> bool:
    return str(value or "").lower() in ("1", "y", "yes", "t", "true")


def _flags(row: Row) -> list[str]:
    dual = two(row["dual_status_code"])
    limited = two(row["x_elgblty_grp_cd"]) == "35" or row.get("x_rstrctd_bnfts_cd") in (*"236",)
    said = {
        "dual": dual in DUAL,
        "spend_down": _yes(row["x_spenddown_flag"]),
        "partial_benefit": dual in PARTIAL or _yes(row["x_partial_benefit_flag"]),
        "limited_benefits": limited,
    }
    return [name for name, holds in said.items() if holds]


def _cell(row: Row, at: int, codes: Codes) -> str:
    birth, code = _day(row["birth_date"]), row["x_elgblty_grp_cd"]
    age = at - month(birth) if birth else None
    young = "child" if age is not None and age < 21 * 12 else "adult"
    aid = codes.aid.get(two(code))
    if (age is not None and 0 <= age <= 11) or aid == "newborn":
        aid = "newborn"
    elif aid not in ("maternity", "expansion", "disabled"):
        entitled = row["original_reason_entitlement_code"] in ("1", "2", "3")
        old = age is not None and age >= 65 * 12
        aid = "disabled" if not code and (entitled or old) else young
    if row["x_mc_plan_type_cd"]:
        managed = two(row["x_mc_plan_type_cd"]) in ("01", "04", "17", "80")
    else:
        names = f"{row['payer_type']} {row['plan']}".lower()
        managed = bool(row["x_mc_plan_id"]) or any(w in names for w in ("managed", "mco", "hmo"))
    return f"{aid}_{'managed' if managed else 'ffs'}"


def _judge(state: State, person: str, year: int, terms: dict[str, Any]) -> None:
    """Whether somebody is eligible in a year, or why not; and their months by rate cell."""
    enrolled, at = state.months[person], range(year * 12, year * 12 + 12)
    countable = [state.counts(person, m) for m in at]
    state.cells[person, year] = Counter(enrolled[m][0] for m in at if state.counts(person, m))

    def enough(months: list[bool]) -> bool:
        runs = "".join("x" if counts else " " for counts in months).split()
        longest = max(map(len, runs), default=0)
        return (
            longest >= terms["attribution.min_months_continuous"]
            or sum(months) >= terms["attribution.min_months_any"]
        )

    if enough(countable):
        state.group[person, year], state.step[person, year] = "UNATTRIBUTED", ""
        return
    reason = "too_few_months" if any(m in enrolled for m in at) else "not_enrolled"
    if enough([m in enrolled and not enrolled[m][3] for m in at]):
        found = {flag for m in at if m in enrolled for flag in enrolled[m][2]}
        reason = next((f for f in WEIGHT if f in found and f in state.exclude), reason)
    state.reason[person, year] = reason


def _categorise(rows: list[Row], codes: Codes) -> None:
    claims: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        row["bill"] = (row.get("bill_type_code") or "").lstrip("0")[:2]
        row["revenue"] = (row.get("revenue_center_code") or "").zfill(4)
        claims[row["claim"]].append(row)
    for of in claims.values():
        acute = any(map(_acute, of))
        urgent = {row["service"] for row in of if _urgent(row)}
        for row in of:
            row["acute"], row["emergency"] = acute, row["service"] in urgent
            row["category"] = _category(row, bool(urgent), codes)


def _urgent(row: Row) -> bool:
    by_revenue = row["revenue"][:3] == "045" or row["revenue"] == "0981"
    return by_revenue or within(row.get("hcpcs_code"), [("99281", "99285")])


def _acute(row: Row) -> bool:
    if row["bill"] in ("11", "12", "41"):
        return True
    unbilled = not row["bill"] and row.get("claim_type") in ("institutional", None)
    board = "0100" <= row["revenue"] <= "0219"
    return bool(unbilled and row.get("admission_date") and (row["drg_code"] or board))


def _category(row: Row, urgent: bool, codes: Codes) -> str:
    if row["table"] == "pharmacy_claim":
        return "pharmacy"
    procedure, kind = codes.category(row["hcpcs_code"], 0), row["claim_type"]
    if row["acute"]:
        return "inpatient"
    if procedure == "health_care_home":
        return procedure
    if kind == "institutional" or (kind is None and (row["bill"] or row["revenue"] != "0000")):
        outpatient = row["bill"] in ("13", "85", "")
        if outpatient and urgent:
            return "emergency"
        found = None if outpatient else codes.category(row["bill"], 2)
        found = found or codes.category(row["revenue"], 1)
        testing = procedure if procedure in ("laboratory", "radiology") else None
        return found or testing or "outpatient_hospital"
    if kind == "dental" or (kind == "vision" and procedure is None):
        return str(kind)
    place = codes.category(two(row["place_of_service_code"]), 3)
    follows = procedure in ("primary_care", "specialist", "inpatient")
    if follows and place in ("emergency", "ambulatory_surgery", "fqhc_rhc"):
        return str(place)
    return procedure or place or "other"


def _attribute(state: State, roster: list[Row], terms: dict[str, Any]) -> None:
    when = date.fromisoformat(f"{state.year}-{terms['attribution.roster_date']}")
    entries: dict[str, list[tuple[bool, date, Row]]] = defaultdict(list)
    for entry in roster:
        start, end = _day(entry["start_date"]) or date.min, _day(entry["end_date"]) or date.max
        if start <= when <= end:
            entries[entry["npi"]].append((bool(entry["tin"]), start, entry))
    care = listed(terms["attribution.care_coordination_codes"])
    codes = listed(terms["attribution.visit_codes"])
    encounters: dict[tuple, set[tuple[str, date]]] = defaultdict(set)
    for row in state.claims:
        person, day, code = row["person_id"], row["service"], row.get("hcpcs_code")
        is_care = within(code, care)
        if row["fate"] != "retained" or not (is_care or within(code, codes)):
            continue
        if day.year not in state.cutoffs or not state.known(row, day.year):
            continue
        if row["x_clm_type_cd"] in PAYMENTS or not state.counts(person, month(day)):
            continue
        place = row["place_of_service_code"] or ""
        barred = row["acute"] or row["emergency"]
        if not is_care and (barred or place in terms["attribution.excluded_places"]):
            continue
        tin = row.get("rendering_tin") or row["billing_tin"]
        fitting = [
            [e for e in entries[row[npi]] if e[2]["tin"] in (None, tin)]
            for npi in ("rendering_npi", "billing_npi")
            if row[npi]
        ]
        found = next(filter(None, fitting), None)
        if found:
            entry = max(found, key=lambda e: e[:2])[2]
            step = "health_care_home" if is_care else _step(entry["specialty"])
            encounters[person, day.year, step].add((entry["partnership_id"], day))
    for person, year in state.group:
        for step in terms["attribution.steps"]:
            if days := encounters.get((person, year, step)):
                visits = Counter(group for group, _ in days)
                last = {g: max(d for of, d in days if of == g) for g in visits}
                best = min(
                    visits, key=lambda g: (-visits[g], -last[g].toordinal(), g == "COMPARISON", g)
                )
                state.group[person, year], state.step[person, year] = best, step
                state.visits[person, year] = visits[best]
                break


def _step(specialty: str) -> str:
    primary = specialty.startswith(PRIMARY) and not specialty.startswith(BEHAVIORAL)
    return "primary_care" if primary else "specialist"


def _score(state: State, rows: list[Row]) -> None:
    """A score for everybody with months; who has none takes the state's mean of the rate cell."""
    given = {
        (row["person_id"], int(row["year"])): whole(Fraction(str(row["score"])) * 1_000_000)
        for row in rows
    }
    placed = {
        key: max(CELLS, key=lambda c: (cells[c], -CELLS.index(c)))
        for key, cells in state.cells.items()
        if cells
    }
    points: Counter[tuple[int, str]] = Counter()
    months: Counter[tuple[int, str]] = Counter()
    for (person, year), cell in placed.items():
        if (person, year) in given:
            n = state.cells[person, year].total()
            points[year, cell] += given[person, year] * n
            months[year, cell] += n
    for (person, year), cell in placed.items():
        mean = Fraction(points[year, cell], months[year, cell] or 1)
        state.score[person, year] = given.get((person, year), whole(mean))


def costs(
    state: State, terms: dict[str, Any]
) -> dict[tuple[str, int], tuple[Counter[str], Counter[str]]]:
    """Cents by person, year and rate cell of the contract, before floor and cap and after."""
    column = {"claim_end": "end", "claim_start": "start", "line": "service"}
    into = {part: cell for cell in terms["target.rate_cells"] for part in cell.split("+")}
    before: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for row in state.claims:
        if row["fate"] != "retained" or row["category"] not in terms["cost.services"]:
            continue
        person, day = row["person_id"], row[column[terms["cost.incurred_by"]]]
        if (person, day.year) not in state.group or not state.known(row, day.year):
            continue
        kind = row["x_clm_type_cd"] or "1"
        if kind in PAYMENTS or not state.counts(person, month(day)):
            continue
        amounts = {
            "paid": row["paid"],
            "allowed": row["allowed"],
            "paid_less_third_party": row["paid"] - row["third_party"],
        }
        amount = amounts[terms["cost.amount"]]
        if terms["cost.zero_paid_encounter"] == "allowed" and kind in ENCOUNTERS:
            amount = amount if row["paid"] else row["allowed"]
        before[person, day.year][into[state.months[person][month(day)][0]]] += amount
    return {
        key: (cells, _limited(cells, state.cells[key].total(), terms))
        for key, cells in before.items()
    }


def _limited(cells: Counter[str], months: int, terms: dict[str, Any]) -> Counter[str]:
    total = sum(cells.values())
    kept = max(total, 0) if terms["cost.floor_at_zero"] else total
    if terms["cost.claim_cap"] is not None:
        part = Fraction(months, 12) if terms["cost.prorate_cap"] else 1
        cap = whole(Fraction(str(terms["cost.claim_cap"])) * 100 * part)
        share = Fraction(str(terms["cost.keep_above_cap"] or 0))
        kept = cap + whole(share * (kept - cap)) if kept > cap else kept
    after: Counter[str] = Counter()
    running = lost = 0
    for cell in terms["target.rate_cells"]:
        running += cells[cell]
        taken = whole(Fraction((total - kept) * running, total)) if total else 0
        after[cell] = cells[cell] - (taken - lost) if kept else 0
        lost = taken
    return after


def sums(state: State, terms: dict[str, Any]) -> dict[tuple[str, int, str], Counter[str]]:
    """Members, months, cents and score × months by group (STATE: everybody), year and rate cell."""
    found: dict[tuple[str, int, str], Counter[str]] = defaultdict(Counter)
    of = costs(state, terms)
    nothing: Counter[str] = Counter()
    for key, group in state.group.items():
        before, after = of.get(key, (nothing, nothing))
        for cell in terms["target.rate_cells"]:
            months = sum(state.cells[key][part] for part in cell.split("+"))
            for who in (group, "STATE"):
                row = found[who, key[1], cell]
                row["members"] += months > 0
                row["months"] += months
                row["paid"] += before[cell]
                row["cost"] += after[cell]
                row["risk"] += months * state.score[key] if months else 0
    return found

"""Members scored a second on one core, code lookup included, beside packages that do the same.

    members with 0 to 15 diagnoses -> equal results -> timed: dictionary to rule lists, facts,
    condition bits, program, rounding | each package, member by member

All forms run in this process on one thread, in turns, and figures are members a second of
processor time; the packages, hundreds of times slower, score the first few thousand members.
`IHP_BENCH_QUICK` makes it small; `python -m benchmarks.bench_risk_score` prints the ratios alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from benchmarks.peers.risk import HccpyScore, hccinfhir_score, score_all
from benchmarks.race import QUICK, ROUNDS, WITH_PEERS, Clock
from ihp_compute.risk.models import cms_hcc
from ihp_compute.risk.models.compile import Compiled, compile_model
from ihp_compute.risk.models.engine import Codes, Scored, flags_and_segments, run
from ihp_compute.risk.models.members import Members
from ihp_compute.units import MICRO, NO_DAY

MEMBERS = 20_000 if QUICK else 1_000_000
PEER_MEMBERS = 500 if QUICK else 3_000
OTHER_CODES = 67_000
"""Codes of the dictionary that the model does not map; ICD-10-CM has about 75,000 in all."""
MAPPED_SHARE = 0.35
DUALS = (0, 1, 2, 3, 4, 5, 6, 8)


@lru_cache(maxsize=1)
def model() -> Compiled:
    """V28 as the packages run it: all hierarchies at once."""
    return compile_model(cms_hcc.build("cms-hcc-v28"), hierarchies="simultaneous")


@lru_cache(maxsize=1)
def case() -> tuple[list[str], Members, Codes]:
    """The dictionary of codes, members, and their rows; edits that packages lack left out."""
    rng = np.random.default_rng(20261121)
    plain = {
        rule.code
        for rule in model().model.rules
        if rule.edit_age is None and rule.age is None and not rule.sex
    }
    mapped = sorted(plain)
    words = [f"Z{i:05d}X" for i in range(OTHER_CODES)] + mapped
    sizes = rng.integers(0, 16, MEMBERS)
    n_rows = int(sizes.sum())
    codes = np.where(
        rng.random(n_rows) < MAPPED_SHARE,
        OTHER_CODES + rng.integers(0, len(mapped), n_rows),
        rng.integers(0, OTHER_CODES, n_rows),
    ).astype(np.int32)
    dual = rng.choice(np.array(DUALS, np.uint8), MEMBERS)
    age = rng.integers(15, 100, MEMBERS).astype(np.int16)
    none = np.zeros(MEMBERS, np.bool_)
    members = Members(
        age=age,
        sex=rng.integers(1, 3, MEMBERS).astype(np.uint8),
        birth_day=np.full(MEMBERS, NO_DAY, np.int32),
        months=np.full(MEMBERS, 12, np.uint8),
        original_reason=(age < 65).astype(np.uint8) | rng.integers(0, 2, MEMBERS).astype(np.uint8),
        dual_status=dual,
        medicaid=dual > 0,
        institutional=rng.random(MEMBERS) < 0.05,
        new_enrollee=none,
        special_needs=none,
        column=np.zeros(MEMBERS, np.int16),
        csr=np.full(MEMBERS, -1, np.int16),
        segment=np.full(MEMBERS, -1, np.int16),
    )
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows = Codes(np.zeros(0, np.int32), codes, np.full(n_rows, NO_DAY, np.int32), offsets)
    return words, members, rows


def ours() -> Scored:
    """Look the dictionary up and score every member."""
    words, members, rows = case()
    entry = model().tables["ICD10"].entry(words)
    coded = Codes(entry, rows.codes, rows.days, rows.offsets)
    return run(model(), members, {"ICD10": coded}, code_edits=False)


@lru_cache(maxsize=1)
def for_peers() -> list[dict[str, Any]]:
    """The first members as the packages take them."""
    words, members, rows = case()
    segment = flags_and_segments(model(), members)[1]
    return [
        {
            "codes": [words[c] for c in rows.codes[rows.offsets[m] : rows.offsets[m + 1]]],
            "age": int(members.age[m]),
            "sex": "FM"[members.sex[m] - 1],
            "dual": f"{members.dual_status[m]:02d}",
            "reason": str(members.original_reason[m]),
            "medicaid": bool(members.medicaid[m]),
            "institutional": bool(members.institutional[m]),
            "segment": model().segment_names[segment[m]],
        }
        for m in range(PEER_MEMBERS)
    ]


def different(scores: list[float]) -> list[int]:
    """Members whose score by a package is not ours."""
    raw = ours().raw_micro
    return [m for m, score in enumerate(scores) if round(score * MICRO) != raw[m]]


HCCPY_LACKS = frozenset({"HCC191", "HCC192", "HCC221", "HCC222"})
"""Categories below which hccpy's V28 hierarchies clear nothing."""


def outdated(score: HccpyScore, members: list[int]) -> bool:
    """Whether each member has a code that hccpy's older map lacks, or such a category.

    Or one that was valid until a day, which its map has without the day.
    """
    categories = {rule.code: set(rule.bits) for rule in model().model.rules}
    dated = {rule.code for rule in model().model.rules if rule.first or rule.last}
    return all(
        any(
            code in categories
            and (
                code in dated
                or categories[code] != set(score.map(code))
                or categories[code] & HCCPY_LACKS
            )
            for code in for_peers()[m]["codes"]
        )
        for m in members
    )


def peers() -> dict[str, Callable[[], list[float]]]:
    """Each package over the first members, after its scores were found equal to ours."""
    found: dict[str, Callable[[], list[float]]] = {}
    score = hccinfhir_score()
    assert different(score_all(score, for_peers())) == []
    found["hccinfhir"] = lambda: score_all(score, for_peers())
    try:
        other = HccpyScore()
    except ImportError as problem:
        print(f"hccpy does not import here: {problem}")
        return found
    assert outdated(other, different(score_all(other, for_peers())))
    found["hccpy"] = lambda: score_all(other, for_peers())
    return found


def figures(own: Clock, others: dict[str, Clock]) -> dict[str, Any]:
    """Members a second of processor time, medians, and ours as a multiple of each package."""
    rate = MEMBERS / own.medians()["process_seconds"]
    theirs = {
        name: PEER_MEMBERS / clock.medians()["process_seconds"] for name, clock in others.items()
    }
    return {
        "members_per_second": {"ours": rate, **theirs},
        "times_faster": {name: rate / other for name, other in theirs.items()},
    }


@pytest.mark.filterwarnings("ignore")  # the packages load their data by deprecated ways
def test_bench_risk_model(benchmark: Any) -> None:
    own = Clock(ours)
    others = {name: Clock(form) for name, form in peers().items()} if WITH_PEERS else {}
    assert (own().raw_micro > 0).all()
    own.forget()

    def peers_first() -> None:
        for clock in others.values() if benchmark.enabled else ():
            clock()

    benchmark.pedantic(own, setup=peers_first, rounds=ROUNDS, iterations=1)
    if benchmark.enabled:
        benchmark.extra_info.update(
            ours=own.medians(),
            peers={name: clock.medians() for name, clock in others.items()},
            sizes={"members": MEMBERS, "peer_members": PEER_MEMBERS, "rows": len(case()[2].codes)},
            threads=1,
            note="the packages score the first members; compare members a second, not seconds",
            **figures(own, others),
        )


def main() -> None:
    """Print members a second and the ratios."""
    own, others = Clock(ours), {name: Clock(form) for name, form in peers().items()}
    ours()
    for _ in range(ROUNDS):
        for clock in (*others.values(), own):
            clock()
    found = figures(own, others)
    for name, rate in found["members_per_second"].items():
        print(f"{name:10s} {rate:14,.0f} members/s   1 / {found['times_faster'].get(name, 1):,.0f}")


if __name__ == "__main__":
    main()

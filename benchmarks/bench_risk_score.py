"""Members scored a second on one core, code lookup included, beside packages that do the same.

    members with 0 to 15 diagnoses -> equal results -> timed: dictionary to rule lists, facts,
    condition bits, program, rounding | each package, member by member

`IHP_BENCH_MEMBERS` sets the size (20,000 unless given; published figures use 1,000,000) and
`IHP_BENCH_PEER_MEMBERS` how many of them the packages score (2,000). All forms run in this process
on one thread, and `extra_info` carries members a second. `python benchmarks/bench_risk_score.py`
prints the ratio of processor times, taken in turns so that both meet the same machine.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from benchmarks.peers.risk import HccpyScore, hccinfhir_score, score_all
from ihp_compute.risk_models import cms_hcc
from ihp_compute.risk_models.compile import Compiled, compile_model
from ihp_compute.risk_models.engine import Codes, Members, Scored, flags_and_segments, run
from ihp_compute.units import MICRO, NO_DAY

MEMBERS = int(os.environ.get("IHP_BENCH_MEMBERS", "20000"))
PEER_MEMBERS = min(MEMBERS, int(os.environ.get("IHP_BENCH_PEER_MEMBERS", "2000")))
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


def test_bench_risk_score(benchmark: Any) -> None:
    ours()
    benchmark(ours)
    if benchmark.stats:
        benchmark.extra_info["members_per_second"] = MEMBERS / benchmark.stats["min"]
    assert (ours().raw_micro > 0).all()


@pytest.mark.filterwarnings("ignore")  # it reads its files by a deprecated way
def test_bench_hccinfhir(benchmark: Any) -> None:
    score = hccinfhir_score()
    assert different(score_all(score, for_peers())) == []
    benchmark.pedantic(score_all, (score, for_peers()), rounds=3)
    if benchmark.stats:
        benchmark.extra_info["members_per_second"] = PEER_MEMBERS / benchmark.stats["min"]


HCCPY_LACKS = frozenset({"HCC191", "HCC192", "HCC221", "HCC222"})
"""Categories below which hccpy's V28 hierarchies clear nothing."""


def outdated(score: HccpyScore, members: list[int]) -> bool:
    """Whether each member has a code that hccpy's older map lacks, or such a category."""
    categories = {rule.code: set(rule.bits) for rule in model().model.rules}
    return all(
        any(
            code in categories
            and (categories[code] != set(score.map(code)) or categories[code] & HCCPY_LACKS)
            for code in for_peers()[m]["codes"]
        )
        for m in members
    )


@pytest.mark.filterwarnings("ignore")  # its use of pkg_resources warns
def test_bench_hccpy(benchmark: Any) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            score = HccpyScore()
    except ImportError as problem:
        pytest.skip(f"hccpy does not import here: {problem}")
    scores = score_all(score, for_peers())
    assert outdated(score, different(scores))
    benchmark.pedantic(score_all, (score, for_peers()), rounds=3)
    if benchmark.stats:
        benchmark.extra_info["members_per_second"] = PEER_MEMBERS / benchmark.stats["min"]


def in_turns(forms: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, float]:
    """Members per second of processor time: the best of the rounds, forms taken in turns."""
    best = dict.fromkeys(forms, 0.0)
    for _ in range(rounds):
        for name, (form, n) in forms.items():
            before = time.process_time()
            form()
            best[name] = max(best[name], n / (time.process_time() - before))
    return best


def main() -> None:
    """Print members a second and the ratios."""
    ours()
    forms: dict[str, tuple[Callable[[], object], int]] = {"ours": (ours, MEMBERS)}
    score = hccinfhir_score()
    assert different(score_all(score, for_peers())) == []
    forms["hccinfhir"] = (lambda: score_all(score, for_peers()), PEER_MEMBERS)
    try:
        other = HccpyScore()
        bad = different(score_all(other, for_peers()))
        assert outdated(other, bad)
        print(f"hccpy differs on {len(bad)} of {PEER_MEMBERS}, all by its older tables")
        forms["hccpy"] = (lambda: score_all(other, for_peers()), PEER_MEMBERS)
    except ImportError as problem:
        print(f"hccpy does not import here: {problem}")
    best = in_turns(forms, rounds=5)
    for name, rate in best.items():
        print(f"{name:10s} {rate:14,.0f} members/s   1 / {best['ours'] / rate:,.0f}")


if __name__ == "__main__":
    main()

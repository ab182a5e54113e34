"""Why a member has this score: bits before and after each step, and the terms that add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.risk.models.compile import Compiled
from ihp_compute.risk.models.engine import Scored
from ihp_compute.risk.models.members import Members
from kernels.members.risk_score import risk_score

CHUNK: Final = 4096


def named(compiled: Compiled, words: NDArray[np.uint64]) -> list[str]:
    """Names of the bits that are set, in order."""
    wide = sum(int(word) << (64 * w) for w, word in enumerate(words))
    return [name for bit, name in enumerate(compiled.names) if wide >> bit & 1]


def explain(
    compiled: Compiled, members: Members, scored: Scored, ids: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """One document per member, in order.

    Each has member_id, segment, column, flags, conditions (bits before the program), steps (only
    those that changed something: number, op, set, cleared), terms (name and micro-units, summing
    to raw_micro), raw_micro and score_micro.
    """
    for start in range(0, len(ids), CHUNK):
        part = slice(start, min(start + CHUNK, len(ids)))
        yield from _documents(compiled, members, scored, ids[part], part)


def _documents(
    compiled: Compiled, members: Members, scored: Scored, ids: Sequence[str], part: slice
) -> Iterator[dict[str, Any]]:
    model = compiled.model
    after = [
        risk_score(
            scored.words[part], members.age[part], members.sex[part], members.months[part],
            scored.segment[part], scored.row[part], scored.flags[part], compiled.steps[:n_steps],
            compiled.masks, compiled.children, compiled.table, compiled.coefficients_micro,
        )[1]
        for n_steps in range(len(model.steps) + 1)
    ]  # fmt: skip
    for i, member_id in enumerate(ids):
        m = part.start + i
        steps = [
            {
                "step": number,
                "op": model.steps[number - 1].op,
                "set": named(compiled, after[number][i] & ~after[number - 1][i]),
                "cleared": named(compiled, after[number - 1][i] & ~after[number][i]),
            }
            for number in range(1, len(after))
            if (after[number][i] != after[number - 1][i]).any()
        ]
        micro = compiled.coefficients_micro[scored.row[m]]
        yield {
            "member_id": member_id,
            "segment": compiled.segment_names[scored.segment[m]],
            "column": model.columns[members.column[m]],
            "flags": [f.name for k, f in enumerate(model.flags) if scored.flags[m] >> k & 1],
            "conditions": named(compiled, after[0][i]),
            "steps": steps,
            "terms": {
                name: int(micro[compiled.bit[name]]) for name in named(compiled, after[-1][i])
            },
            "raw_micro": int(scored.raw_micro[m]),
            "score_micro": int(scored.score_micro[m]),
        }

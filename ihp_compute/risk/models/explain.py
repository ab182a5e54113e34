"""Why a member has this score: bits before and after each step, and the terms that add up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ihp_compute.risk.models.compile import Compiled
from ihp_compute.risk.models.engine import Codes, Scored, post_steps, run
from ihp_compute.risk.models.members import Members
from kernels.members.condition_flags import OUTCOMES
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
    to raw_micro), raw_micro, post_steps (each with the score after it) and score_micro.
    """
    for start in range(0, len(ids), CHUNK):
        part = slice(start, min(start + CHUNK, len(ids)))
        yield from _documents(compiled, members, scored, ids[part], part)


def explain_one(
    compiled: Compiled,
    members: Members,
    codes: Mapping[str, Codes],
    scored: Scored,
    member: int,
    *,
    code_edits: bool,
) -> dict[str, Any]:
    """The document of one member, and which of its rows set what.

    `codes` has, of each row of the member, its system, code (a number as in `Codes.codes`), day,
    the conditions that it sets and its fate (`condition_flags.OUTCOMES`).
    """
    (found,) = _documents(compiled, members, scored, [""], slice(member, member + 1))
    del found["member_id"]
    rows = [
        row
        for system, of_system in codes.items()
        for row in _rows(compiled, members, system, of_system, member, code_edits=code_edits)
    ]
    return {"age": int(members.age[member]), "codes": rows, **found}


def _rows(
    compiled: Compiled, members: Members, system: str, codes: Codes, member: int, *,
    code_edits: bool,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Rows of one member, each run through the engine as if it were all that the member has."""
    first, last = (int(place) for place in codes.offsets[member : member + 2])
    n = last - first
    if not n:
        return
    alone = members.take(np.full(n, member))
    own = replace(
        codes, codes=codes.codes[first:last], days=codes.days[first:last],
        offsets=np.arange(n + 1, dtype=np.int64),
    )  # fmt: skip
    found = run(compiled, alone, {system: own}, code_edits=code_edits)
    for i in range(n):
        yield {
            "system": system,
            "code": int(own.codes[i]),
            "day": int(own.days[i]),
            "sets": named(compiled, found.words[i]),
            "fate": OUTCOMES[int(found.outcomes[system][i].argmax())],
        }


def _after_each(compiled: Compiled, members: Members, scored: Scored, m: int) -> Iterator[Any]:
    """The model's post-steps, each with the score after it."""
    steps = compiled.model.post_steps
    for n in range(1, len(steps) + 1):
        part = replace(
            compiled, model=msgspec.structs.replace(compiled.model, post_steps=steps[:n])
        )
        one = slice(m, m + 1)
        after = post_steps(part, scored.raw_micro[one].copy(), members.csr[one])
        step = steps[n - 1]
        yield {"op": step.op, "by": step.by, "places": step.places, "score_micro": int(after[0])}


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
            "post_steps": list(_after_each(compiled, members, scored, m)),
            "score_micro": int(scored.score_micro[m]),
        }

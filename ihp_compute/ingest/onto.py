"""Second pass of an ingest onto an earlier population: as little anew as the delivery asks for.

    a shard of people without a new row, all it rests on as it was -> its files as they are
    a shard whose claims meet what they met                        -> rows of whom the delivery
        reaches decided anew with the new ones, all others' as they stand (`reached`, `join`)
    else (another roster or other choices)                         -> built of all rows (`fresh`)

The claims that the cold record has stay in their files; the delivery's are a piece beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.folders import write_arrow
from ihp_compute.ingest.counted import Undone
from ihp_compute.ingest.earlier import Earlier
from ihp_compute.ingest.fresh import Fresh, Made, Site, Stamps, n_rows
from ihp_compute.ingest.handover import sums_of
from ihp_compute.ingest.reached import members_before, reached
from ihp_compute.ingest.shard import (
    Claims,
    Members,
    claims_of,
    content_of,
    join,
    members_of,
    offsets_of,
    served_on,
)
from ihp_compute.input_columns import SPILLED
from ihp_compute.ledger import CLAIM_TABLES, LEDGER_TABLES
from ihp_compute.population import (
    GONE,
    Shard,
    codes_path,
    payment_days,
    text_hashes,
    write_places,
)
from ihp_compute.population import digest as population_digest

_NOBODY: Final = np.empty(0, np.uint64)
CountClaims: TypeAlias = Callable[[str, NDArray[np.uint64]], None]


class Onto(Fresh):
    """Makes shards of what was spilled and of an earlier population."""

    def __init__(
        self, site: Site, earlier: Earlier, rostered: list[str], count_claims: CountClaims
    ) -> None:
        super().__init__(site)
        self._earlier, self._count_claims = earlier, count_claims
        self._joins = earlier.decides(site.rules, rostered)
        self._rests = earlier.rests_on(site.rules, rostered)
        self._final = earlier.final_now(site.rules)
        self._npis = {npi: k for k, npi in enumerate(site.npis.to_pylist())}
        # of whom nothing stays put aside, by table and shard of which something does
        self._anew: dict[str, dict[int, NDArray[np.uint64]]] = {
            table: {} for table in LEDGER_TABLES
        }

    def aside(self, table: str) -> list[pa.Table]:
        """Rows of a table that were put aside and still are, once every shard is made."""
        return self._earlier.aside(table, self._anew[table])

    def write_codes(self, codes: Mapping[str, pa.Array]) -> None:
        """Write the codes by their numbers in the record; `codes` are those in order."""
        schema = pa.schema([pa.field("code", pa.string(), nullable=False)])
        for system, met in self._earlier.met_now(self._site.rules, codes).items():
            batch = pa.RecordBatch.from_arrays([met], schema=schema)
            write_arrow(self._site.staging / codes_path(system), batch)

    def made(self, index: int) -> Made:
        """As `Fresh.made`."""
        spilled = self._spilled(index)
        if self._rests and not any(own.n for own in spilled.values()):
            return self._kept(index)
        return self._joined(index) if self._joins else self._whole(index)

    def _kept(self, index: int) -> Made:
        """A shard as it is."""
        earlier, site = self._earlier, self._site
        for table, ids in earlier.claim_ids(index):
            self._count_claims(table, text_hashes(ids))
        for anew in self._anew.values():
            anew[index] = _NOBODY
        counts = earlier.shard_counts(index)
        content = counts.content(earlier.population.shards[index], site.n_files, self._npis)
        stamps = {name: earlier.link(name, site.staging) for name in earlier.files_of(index)}
        site.spill.made(index)
        return content, counts.sums, stamps

    def _whole(self, index: int) -> Made:
        """A shard built of all rows."""
        pieces = {
            table: [*self._earlier.pieces(index)[table], own]
            for table, own in self._spilled(index).items()
        }
        claims = self._rows("claims", pieces, *CLAIM_TABLES)
        content = self._built(pieces)
        words, n_medical = claims.hashes["claim_id"], n_rows(pieces["medical_claim"])
        self._count_claims("medical_claim", words[:n_medical])
        self._count_claims("pharmacy_claim", words[n_medical:])
        # rows that could not be read stand in no record
        before = self._earlier.shard_counts(index)
        before.enter(content.ledger, unreadable_only=True)
        content.newest_file_day = max(content.newest_file_day, before.newest_file_day)
        return self._written(index, content, content.sums(self._site.code_words))

    def _as_they_stand(self, stamps: Stamps) -> Stamps:
        """With links in place of files that are as they were."""
        staging = self._site.staging
        return {name: self._earlier.reused(name, staging, stamp) for name, stamp in stamps.items()}

    def _joined(self, index: int) -> Made:
        """A shard of rows that stand as they are, and of those that are decided anew."""
        site, earlier = self._site, self._earlier
        shard, before = earlier.population.shards[index], earlier.shard_counts(index)
        spilled = {table: [own] for table, own in self._spilled(index).items()}
        people = earlier.pieces(index, ("eligibility", "scores"))
        every = {table: [*people[table], *spilled[table]] for table in SPILLED}
        eligibility = self._rows("eligibility", every, "eligibility")
        notes: dict[str, int] = {}
        members, were = members_of(eligibility, site.rules, notes), members_before(shard)
        n_medical = n_rows(spilled["medical_claim"])
        new = self._rows("claims", spilled, *CLAIM_TABLES)
        found = reached(shard, new, n_medical, were, members, site.rules)
        for table in CLAIM_TABLES:
            self._count_claims(table, np.concatenate(found.claims[table]))
            self._anew[table][index] = found.keys
        own = earlier.pieces(index, ("claims",), found.keys)
        gone = claims_of(
            self._rows("claims", own, *CLAIM_TABLES), n_rows(own["medical_claim"]), were,
            site.rules, site.n_files, site.scratch(),
        )  # fmt: skip
        undone = _undone(gone, were, site)
        both = {table: [*own[table], *spilled[table]] for table in CLAIM_TABLES}
        added = claims_of(
            self._rows("claims", both, *CLAIM_TABLES), n_rows(both["medical_claim"]), members,
            site.rules, site.n_files, site.scratch(),
        )  # fmt: skip
        content = content_of(
            added, members, eligibility, self._rows("scores", every, "risk_score"), site.rules,
            notes,
        )  # fmt: skip
        sums = content.sums(site.code_words)
        joined = join(
            shard, added, members.key, found.keys, found.line_hash, self._final, site.code_words,
            site.scratch(),
        )  # fmt: skip
        sums += _of_claims(before.sums) - undone.sums - joined.dropped
        before.add_claims(content, undone, self._npis)
        stands = joined.earlier_line != GONE
        content.service_days = _both(
            content.service_days,
            _days_of(shard, were, stands, before.service_days, undone.service_days),
        )
        counts = {
            **joined.counts,
            **{
                name: np.diff(content.tables["offsets"].column(name).to_numpy())
                for name in ("spans", "scores")
            },
        }
        content.tables |= {**joined.tables, "offsets": offsets_of(counts)}
        content.payment_days = payment_days(
            lambda name: content.tables["lines"].column(name).to_numpy(zero_copy_only=False)
        )
        has = np.flatnonzero(added.line >= 0)  # of which the record is not yet made
        added.line[has] = joined.line[added.line[has]]
        places = earlier.lines_now(index, found.keys, joined.earlier_line)
        made = self._written(index, content, sums, earlier.delivery)
        made[2].update((file, earlier.link(file, site.staging)) for file in shard.record_claims)
        made[2].update([write_places(site.staging, index, places)])
        return made


_OF_MEMBERS: Final = [
    names[0] in ("members", "identity", "spans", "scores")
    for names in population_digest.HASHED_TABLES
]


def _of_claims(sums: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sums of the tables that come of claims; 0 of the others."""
    found = sums.copy()
    found[_OF_MEMBERS] = 0
    return found


def _undone(gone: Claims, were: Members, site: Site) -> Undone:
    """What earlier rows, which are decided anew, had come to."""
    none = np.zeros(len(were.key), np.int64)
    made = {
        **gone.tables,
        "members": were.tables["members"],
        "offsets": offsets_of({**gone.counts, "spans": none, "scores": none}),
    }
    return Undone(
        _of_claims(sums_of(made, gone.hashes(), site.code_words)),
        gone.ledger,
        gone.findings,
        gone.off_roster,
        gone.service_days(),
    )


Days: TypeAlias = tuple[int, int] | None


def _both(one: Days, other: Days) -> Days:
    """The first and the last day of both."""
    days = [*(one or ()), *(other or ())]
    return (min(days), max(days)) if days else None


def _days_of(
    shard: Shard, were: Members, stands: NDArray[np.bool_], known: Days, gone: Days
) -> Days:
    """First and last day of service, of enrolled members, of the earlier lines that stand.

    `known` are those of all earlier lines, `gone` of those that do not stand.
    """
    if known is None or gone is None or (known[0] < gone[0] and gone[1] < known[1]):
        return known
    day = shard.column("lines", "service_day")
    member = np.repeat(np.arange(shard.n_members, dtype=np.int32), np.diff(shard.offsets("lines")))
    ends = np.flatnonzero((day == known[0]) | (day == known[1]))
    for rows in (ends[stands[ends]], np.flatnonzero(stands)):  # few, and all if need be
        days = day[rows][served_on(day[rows], member[rows], were)]
        found = (int(days.min()), int(days.max())) if len(days) else None
        if found == known:
            break
    return found

"""Rows of supplied risk scores, a batch at a time: member, year, model, score in millionths, cell.

Decides: that a score which cannot be read stops the ingest, as no row of it may be guessed. A score
that is not stated is none: the row's cell may have a weight.
"""

from __future__ import annotations

import numpy as np

from ihp_compute.codes import MOST_SCORE, NO_SCORE
from ihp_compute.errors import DataError
from ihp_compute.ingest.door.books import CodeBook, MemberBook
from ihp_compute.ingest.door.columns import Column
from ihp_compute.ingest.door.rows import Rows
from ihp_compute.units import MICRO


def read_scores(
    rows: Rows, file_name: str, members: MemberBook, codes: CodeBook
) -> dict[str, Column]:
    """A batch of supplied risk scores as spilled columns.

    Scores are millionths, half to even; `NO_SCORE` where none is stated.

    Raises
    ------
    DataError
        Naming the first row whose member id, year or model is missing or unreadable, or whose
        score is unreadable.
    """
    _, key = rows.member_keys(members)
    year = rows.read("year", "year", _year, np.int16)
    model = rows.codes("model", codes)
    score = rows.scaled("score")
    unread = score.bad | (score.cents < 0) | (score.cents > MOST_SCORE * MICRO)
    wrong = np.flatnonzero((key.rows() == 0) | (year.rows() < 0) | (model.rows() == 0) | unread)
    if len(wrong):
        raise DataError(
            f"{file_name}, data row {rows.first_row + wrong[0]:,}: a risk score needs a member id, "
            f"a year, a model, and a decimal score from 0 to {MOST_SCORE:,} or none "
            f"({len(wrong):,} rows of this batch lack one)."
        )
    return {
        **rows.carried(codes),
        "member_key": key,
        "year": year,
        "model": model,
        "score_micro": np.where(score.blank, np.int64(NO_SCORE), score.cents),
    }


def _year(text: str) -> int:
    return int(text) if text.isdecimal() and 1900 <= int(text) < 2200 else -1

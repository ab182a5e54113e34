"""A payment split over payers to the cent, by weights."""

from __future__ import annotations

from collections.abc import Mapping

from ihp_compute.errors import DataError


def split(payment_cents: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Parts of a payment by payer, in cents, in the order of the names.

    Parameters
    ----------
    payment_cents : int
        Positive or negative.
    weights : mapping of payer to int
        Member months, or cents of cost; none negative, not all zero.

    Raises
    ------
    DataError
        If a weight is negative or all are zero.

    >>> split(100, {"ffs": 1, "plan A": 1, "plan B": 1})
    {'ffs': 34, 'plan A': 33, 'plan B': 33}
    """
    names = sorted(weights)
    total = sum(weights.values())
    if any(weight < 0 for weight in weights.values()):
        raise DataError("payers: found a negative weight, expected member months or cost")
    if total == 0:
        raise DataError("payers: found no weight at all, expected member months or cost")
    sign = -1 if payment_cents < 0 else 1
    shares = {name: divmod(abs(payment_cents) * weights[name], total) for name in names}
    left = abs(payment_cents) - sum(whole for whole, _ in shares.values())
    by_remainder = sorted(names, key=lambda name: (-shares[name][1], name))
    extra = set(by_remainder[:left])
    return {name: sign * (shares[name][0] + (name in extra)) for name in names}

"""The population-based payment: each quarter in advance, trued up at the end of the year.

Decides: what a person's month is worth, which months a quarter pays and a true-up moves, what fees
take off, what a run counts of it. Leaves to others: whose people they are, how sick, and which
months count (`measure`).
"""

from __future__ import annotations

from ihp_compute.payments.pay import PBP, Paid, check_output, pay, write
from ihp_compute.payments.periods import Period
from ihp_compute.payments.years import paid_years

__all__ = ["PBP", "Paid", "Period", "check_output", "paid_years", "pay", "write"]

"""The population-based payment: each quarter in advance, trued up at the end of the year.

Decides: what a person's month is worth, which months a quarter pays and a true-up moves, what fees
take off. Leaves to others: whose people they are, how sick, and which months count (`measure`).
"""

from __future__ import annotations

from ihp_compute.payments.pay import Paid, check_output, pay, write
from ihp_compute.payments.periods import Period

__all__ = ["Paid", "Period", "check_output", "pay", "write"]

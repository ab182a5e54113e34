"""The statewide walk: partnerships' walks added up, whichever rules of the ratio each has."""

from __future__ import annotations

from ihp_compute.report.partnerships import Partnership
from ihp_compute.report.walks import state_walk
from ihp_compute.settlement import steps


def partnership(name: str, *lines: tuple[str, int]) -> Partnership:
    rows = [
        {
            "position": position, "step": step, "amount_cents": amount, "detail": "",
            "citation": "", "basis": "assumed",
        }
        for position, (step, amount) in enumerate(lines)
    ]  # fmt: skip
    return Partnership({"partnership_id": name}, steps(rows), {})


def test_a_rule_of_the_ratio_that_one_contract_has_alone_is_in_the_state_s_walk() -> None:
    end = [("target", 0), ("observed", 90_000), ("savings", 0), ("share", 0), ("payment", 0)]
    one = partnership("A", ("rate_mix", 100_000), ("risk", 20_000), ("risk_corridor", -7_000), *end)
    two = partnership("B", ("rate_mix", 100_000), ("risk", 10_000), *end)
    both = state_walk([one, two])
    assert both is not None
    words = both["to_target"].description
    assert "risk +$300; risk corridor −$70" in words
    plain = state_walk([two, two])
    assert plain is not None
    assert "corridor" not in plain["to_target"].description


def test_partnerships_without_walks_have_none_together() -> None:
    assert state_walk([]) is None
    assert state_walk([partnership("A"), partnership("B")]) == dict.fromkeys(
        ("to_target", "to_payment")
    )

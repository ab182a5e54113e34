"""What a synthetic claim can say: conditions, claim templates and drugs, as plain lists.

A *condition* carries ICD-10-CM codes, a relative cost and how often each aid group has it. A
*template* is a claim shape: its kind of form, where it happened and its lines. A *drug* is a well
formed NDC. Codes are real where a code system defines them (ICD-10-CM, HCPCS level II and CPT
numbers, revenue centres, bill types, places of service, MS-DRG); prices and frequencies are
invented and only shape the mix, because a member-year's dollars are drawn first and split over its
lines afterwards (`lines`). Ordered lists: their order is part of the generator's version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

AID_CODES: Final = ("07", "01", "72", "11", "06", "05", "73", "74", "75", "35")
"""Eligibility group codes in use; the first six stand in the order of `codes.AID_GROUPS`, the last
is family planning."""
FAMILY_PLANNING: Final = len(AID_CODES) - 1

PLACES_ELSEWHERE: Final = (
    "21", "23", "24", "31", "34", "41", "42", "51", "55", "56", "61", "81",
)  # fmt: skip
"""Places of service where a visit attributes nobody under the contracts shipped."""
STAY_VISIT: Final = "visit of a stay"
EMERGENCY_VISIT: Final = "visit of an emergency"
CAPITATION_VISIT: Final = "capitation with a visit"
SUPPLEMENT_VISIT: Final = "supplement with a visit"
DENIED_VISIT: Final = "denied visit"
VOIDED_VISIT: Final = "voided visit"
LIMITED_VISIT: Final = "visit in a limited month"
"""Roles of claims that look like visits and are none (`decoys`)."""
ASSESSMENT: Final = "assessment"
"""Role of claims that state every condition of a member-year, where that is asked for."""
EMERGENCY: Final = "emergency"
PHYSICIAN: Final = "emergency physician"
"""Roles of a visit to an emergency department: its claim, and that of who treated there."""
ANTEPARTUM: Final = "antepartum"
PREVENTIVE: Final = "preventive"
"""Roles of a stay before a delivery, and of preventive visits, by age (`PREVENTIVE_AGES`)."""


def visit_in(place: str) -> str:
    """The role of visits in one of `PLACES_ELSEWHERE`."""
    return f"visit in {place}"


def stay_for(condition: str) -> str:
    """The role of stays for a condition, in `STAYS_FOR`."""
    return f"stay for {condition}"


@dataclass(frozen=True)
class Condition:
    """A group of diagnosis codes.

    `weight` is cost relative to the average member (1.0); `rates` the yearly prevalence among
    children, adults (parents, expansion, pregnancy) and people with disabilities; `persists` says
    whether it stays from one year to the next.
    """

    name: str
    codes: tuple[str, ...]
    weight: float
    rates: tuple[float, float, float]
    persists: bool


CONDITIONS: Final = (
    Condition("hypertension", ("I10", "I119", "I129"), 0.30, (0.002, 0.13, 0.30), True),
    Condition("diabetes", ("E119", "E1165", "E1122", "E1142"), 0.90, (0.003, 0.07, 0.18), True),
    Condition("type 1 diabetes", ("E109", "E1065"), 1.60, (0.003, 0.006, 0.012), True),
    Condition("obesity", ("E669", "E6601", "Z6841"), 0.25, (0.06, 0.16, 0.22), True),
    Condition("hyperlipidemia", ("E785", "E782"), 0.15, (0.003, 0.09, 0.20), True),
    Condition("asthma", ("J45909", "J4520", "J4540"), 0.45, (0.09, 0.07, 0.11), True),
    Condition("lung disease", ("J449", "J441"), 1.10, (0.0, 0.025, 0.09), True),
    Condition("heart failure", ("I509", "I5022", "I5032"), 2.80, (0.0005, 0.008, 0.05), True),
    Condition("coronary disease", ("I2510", "I252"), 1.30, (0.0, 0.015, 0.06), True),
    Condition("kidney disease", ("N1830", "N184"), 1.70, (0.0005, 0.012, 0.05), True),
    Condition("dialysis", ("N186", "Z992"), 14.0, (0.0, 0.0008, 0.006), True),
    Condition("depression", ("F329", "F331", "F339"), 0.55, (0.04, 0.16, 0.26), True),
    Condition("anxiety", ("F411", "F419"), 0.35, (0.05, 0.17, 0.22), True),
    Condition("bipolar disorder", ("F319", "F3181"), 1.20, (0.003, 0.03, 0.10), True),
    Condition("schizophrenia", ("F209", "F259"), 2.20, (0.0, 0.008, 0.10), True),
    Condition("opioid use", ("F1120", "F1123"), 1.30, (0.0005, 0.04, 0.06), True),
    Condition("alcohol use", ("F1020", "F1010"), 0.90, (0.001, 0.035, 0.05), True),
    Condition("attention deficit", ("F902", "F909"), 0.40, (0.09, 0.04, 0.05), True),
    Condition("autism", ("F840",), 2.60, (0.018, 0.001, 0.06), True),
    Condition("intellectual disability", ("F79", "F70"), 1.40, (0.004, 0.001, 0.10), True),
    Condition("cerebral palsy", ("G809", "G800"), 2.90, (0.003, 0.0005, 0.03), True),
    Condition("epilepsy", ("G40909", "G40919"), 1.30, (0.007, 0.008, 0.06), True),
    Condition("multiple sclerosis", ("G35",), 6.50, (0.0, 0.0012, 0.006), True),
    Condition("rheumatoid arthritis", ("M069", "M0579"), 3.20, (0.0004, 0.006, 0.015), True),
    Condition("inflammatory bowel", ("K5090", "K5190"), 4.20, (0.0007, 0.004, 0.007), True),
    Condition("hepatitis C", ("B182",), 1.60, (0.0001, 0.008, 0.015), True),
    Condition("cirrhosis", ("K7460", "K7030"), 3.60, (0.0001, 0.004, 0.012), True),
    Condition("HIV", ("B20",), 3.80, (0.0001, 0.0025, 0.006), True),
    Condition("breast cancer", ("C50919", "C50911"), 6.00, (0.0, 0.002, 0.004), True),
    Condition("lung cancer", ("C3490", "C3411"), 9.00, (0.0, 0.0007, 0.002), True),
    Condition("colon cancer", ("C189", "C20"), 7.50, (0.0, 0.0008, 0.002), True),
    Condition("leukemia", ("C9100", "C9200"), 30.0, (0.0005, 0.0003, 0.0008), True),
    Condition("hemophilia", ("D66", "D67"), 60.0, (0.00025, 0.0001, 0.0003), True),
    Condition("sickle cell disease", ("D5700", "D571"), 4.50, (0.0012, 0.0006, 0.001), True),
    Condition("cystic fibrosis", ("E849", "E840"), 40.0, (0.0003, 0.0001, 0.0003), True),
    Condition("transplant", ("Z940", "Z944"), 25.0, (0.0002, 0.0003, 0.0012), True),
    Condition("stroke", ("I639", "I6930"), 3.10, (0.0002, 0.004, 0.015), False),
    Condition("sepsis", ("A419", "R6520"), 4.60, (0.0007, 0.004, 0.015), False),
    Condition("pneumonia", ("J189", "J159"), 1.30, (0.008, 0.011, 0.03), False),
    Condition("fracture", ("S52501A", "S82891A"), 1.10, (0.015, 0.016, 0.022), False),
    Condition("injury", ("S93401A", "S0990XA", "T1490XA"), 0.45, (0.07, 0.08, 0.09), False),
    Condition("respiratory infection", ("J069", "J029", "J209"), 0.12, (0.30, 0.15, 0.16), False),
    Condition("ear infection", ("H6690", "H6691"), 0.12, (0.15, 0.02, 0.02), False),
    Condition("urinary infection", ("N390",), 0.25, (0.02, 0.07, 0.09), False),
    Condition("back pain", ("M5450", "M545"), 0.35, (0.01, 0.15, 0.20), False),
    Condition("abdominal pain", ("R109", "R1084"), 0.35, (0.04, 0.09, 0.11), False),
    Condition("COVID-19", ("U071",), 0.30, (0.03, 0.05, 0.05), False),
    Condition("headache", ("R519", "G43909"), 0.25, (0.02, 0.08, 0.09), False),
)
STAYS_FOR: Final = (
    "sepsis", "stroke", "heart failure", "schizophrenia", "bipolar disorder", "lung disease",
    "depression",
)  # fmt: skip
"""Conditions for which people are in hospital, where they have them; the first had comes first."""
WELL_CODES: Final = ("Z00129", "Z0000", "Z0001", "Z23")
DELIVERY_CODES: Final = ("O80", "Z370", "Z3A39", "O82")
NEWBORN_CODES: Final = ("Z3800", "Z3801")
PRINCIPAL_CODES: Final = (
    "R079", "K529", "M1711", "L03115", "O4703", "R509", "B349", "K0889", "R112", "M79604", "R42",
)  # fmt: skip
"""Principal diagnoses of stays and emergency visits beside those of conditions; none is in a
category of CMS-HCC V28."""
PREMATURE_CODES: Final = ("P0730", "P0715")
"""Of a premature newborn, who costs many times the average."""


@dataclass(frozen=True)
class Template:
    """A claim shape.

    `role` says which part of a member's year it can stand in: `office` and `clinic` (evaluation
    visits), `coordination` (health care home), `stay`, `birth`, `newborn`, `other` (included
    services), `drug`, `extra` (services that contracts leave out), `capitation`, `supplement`, or
    what looks like a visit and is none.
    `lines` are (revenue centre, HCPCS, relative price). `mix` is the relative frequency among
    children, adults and people with disabilities. `principal` are principal diagnoses, of which
    each claim has one; `condition` is the one whose code it is instead.
    """

    role: str
    form: str
    bill_type: str
    place: str
    lines: tuple[tuple[str, str, float], ...]
    mix: tuple[float, float, float] = (1.0, 1.0, 1.0)
    drg: str = ""
    principal: tuple[str, ...] = ()
    condition: str = ""


def _professional(
    role: str,
    place: str,
    *lines: tuple[str, float],
    mix: tuple[float, float, float] = (1, 1, 1),
    principal: tuple[str, ...] = (),
) -> Template:
    return Template(
        role, "professional", "", place, tuple(("", c, w) for c, w in lines), mix,
        principal=principal,
    )  # fmt: skip


def _facility(
    role: str,
    bill: str,
    *lines: tuple[str, str, float],
    mix: tuple[float, float, float] = (1, 1, 1),
    drg: str = "",
    principal: tuple[str, ...] = (),
) -> Template:
    return Template(role, "institutional", bill, "", lines, mix, drg, principal)


def _stay_for(condition: str, drg: str, *lines: tuple[str, str, float]) -> Template:
    return Template(
        stay_for(condition), "institutional", "111", "", lines, drg=drg, condition=condition
    )


EMERGENCY_CODES: Final = (
    ("J069", 0.14), ("R109", 0.10), ("S0990XA", 0.06), ("S93401A", 0.08), ("R079", 0.08),
    ("R509", 0.08), ("B349", 0.07), ("J029", 0.07), ("H6690", 0.05), ("N390", 0.06),
    ("M5450", 0.06), ("R519", 0.05), ("K0889", 0.04), ("R112", 0.03), ("M79604", 0.02),
    ("R42", 0.01),
)  # fmt: skip
"""Principal diagnoses of emergency visits, and how often they stand."""
AVOIDABLE: Final = (
    ("J0", "0.85"), ("J069", "0.90"), ("H66", "0.80"), ("B34", "0.70"), ("K08", "0.95"),
    ("N39", "0.50"), ("M54", "0.70"), ("M796", "0.60"), ("R51", "0.45"), ("R50", "0.35"),
    ("R11", "0.40"), ("R42", "0.30"), ("R10", "0.20"), ("R07", "0.05"), ("S93", "0.15"),
    ("S09", "0"),
)  # fmt: skip
"""A classifier of emergency visits that stands for one of the user's: diagnoses by how they begin,
and the share of visits that could have been avoided. Invented; it is no published one."""


TEMPLATES: Final = (
    _professional("office", "11", ("99213", 95), mix=(4, 5, 5)),
    _professional("office", "11", ("99214", 135), mix=(2, 4, 5)),
    _professional("office", "11", ("99203", 115), ("85025", 10)),
    _professional(
        "office",
        "11",
        ("99393", 110),
        ("90686", 20),
        ("90471", 15),
        mix=(5, 0, 0),
        principal=("Z00129",),
    ),
    *(
        _professional(
            PREVENTIVE, "11", (code, 110), ("90686", 20), ("90471", 15), principal=("Z00129",)
        )
        for code in ("99391", "99392", "99394")
    ),
    _professional(PREVENTIVE, "11", ("99395", 115), ("90686", 20), principal=("Z0000",)),
    _professional(
        "office",
        "11",
        ("99396", 125),
        ("80061", 18),
        ("36415", 4),
        mix=(0, 2, 2),
        principal=("Z0000",),
    ),
    _professional("office", "11", ("99213", 95), ("87880", 16), mix=(3, 2, 1)),
    _professional("office", "11", ("99243", 150), mix=(0.3, 0.5, 0.5)),
    _professional("office", "12", ("99348", 105), mix=(0.3, 0.5, 0.5)),
    _professional("office", "11", ("99385", 130), mix=(0.3, 0.5, 0.5)),
    _professional("office", "11", ("99483", 280), mix=(0.3, 0.5, 0.5)),
    _professional("office", "11", ("99495", 210), mix=(0.3, 0.5, 0.5)),
    _professional("office", "11", ("G0402", 170), mix=(0.3, 0.5, 0.5)),
    _professional("office", "11", ("G0438", 175), mix=(0.3, 0.5, 0.5)),
    _professional("office", "22", ("G0463", 120), mix=(0.3, 0.5, 0.5)),
    _professional("office", "50", ("G0467", 180), mix=(0.3, 0.5, 0.5)),
    _professional("clinic", "50", ("T1015", 175), ("36415", 4)),
    _professional("coordination", "11", ("S0280", 30)),
    _professional("coordination", "11", ("S0281", 45)),
    _professional("coordination", "21", ("S0280", 30), mix=(0.2, 0.2, 0.2)),
    _facility(
        "stay",
        "111",
        ("0120", "", 5200),
        ("0250", "", 900),
        ("0450", "", 700),
        drg="194",
        principal=("J189",),
    ),
    _facility("stay", "111", ("0120", "", 4100), ("0250", "", 500), drg="313", principal=("R079",)),
    _facility("stay", "111", ("0120", "", 4600), ("0250", "", 800), drg="392", principal=("K529",)),
    _facility(
        "stay",
        "111",
        ("0120", "", 5000),
        ("0250", "", 1100),
        ("0300", "", 600),
        drg="690",
        principal=("N390",),
    ),
    _facility(
        "stay", "111", ("0120", "", 5200), ("0250", "", 1400), drg="603", principal=("L03115",)
    ),
    _facility(
        "stay",
        "111",
        ("0120", "", 5100),
        ("0360", "", 9200),
        ("0278", "", 4100),
        mix=(0.1, 1, 1),
        drg="470",
        principal=("M1711",),
    ),
    _stay_for("sepsis", "871", ("0200", "", 9800), ("0250", "", 3100), ("0300", "", 1900)),
    _stay_for("stroke", "065", ("0200", "", 8200), ("0320", "", 2600), ("0420", "", 900)),
    _stay_for("heart failure", "291", ("0120", "", 6800), ("0250", "", 1600), ("0320", "", 800)),
    _stay_for("lung disease", "190", ("0120", "", 6100), ("0250", "", 1200), ("0410", "", 700)),
    _stay_for("schizophrenia", "885", ("0124", "", 7600), ("0250", "", 400)),
    _stay_for("bipolar disorder", "885", ("0124", "", 7600), ("0250", "", 400)),
    _stay_for("depression", "881", ("0124", "", 5200), ("0250", "", 300)),
    _facility(
        "birth",
        "111",
        ("0112", "", 4400),
        ("0720", "", 2600),
        ("0250", "", 400),
        drg="807",
        principal=("O80",),
    ),
    _facility(
        "birth",
        "111",
        ("0112", "", 6900),
        ("0360", "", 5200),
        ("0250", "", 700),
        drg="788",
        principal=("O82",),
    ),
    _facility(
        ANTEPARTUM, "111", ("0112", "", 3900), ("0300", "", 300), drg="833", principal=("O4703",)
    ),
    _facility(
        "newborn", "111", ("0170", "", 1500), ("0300", "", 150), drg="795", principal=("Z3800",)
    ),
    _facility(
        "newborn",
        "111",
        ("0171", "", 2300),
        ("0300", "", 400),
        drg="794",
        principal=("Z3800", "Z3801"),
    ),
    _professional("other", "21", ("99223", 210), ("99232", 85), ("99238", 90), mix=(2, 3, 5)),
    _facility("other", "131", ("0762", "G0378", 45), ("0300", "80053", 40), mix=(0.3, 0.6, 0.9)),
    _facility(EMERGENCY, "131", ("0450", "99283", 420), ("0300", "80053", 40), mix=(2.4, 2.5, 3)),
    _facility(
        EMERGENCY,
        "131",
        ("0450", "99284", 690),
        ("0300", "85025", 40),
        ("0320", "71046", 130),
        mix=(1.5, 2.2, 2.6),
    ),
    _professional(PHYSICIAN, "23", ("99284", 120)),
    _facility("other", "131", ("0510", "G0463", 140), ("0300", "80053", 35), mix=(3, 5, 7)),
    _facility("other", "131", ("0636", "J1745", 3200), ("0335", "96413", 310), mix=(1, 2, 3)),
    _facility("other", "131", ("0360", "47562", 2900), ("0370", "", 600), mix=(1, 2, 2)),
    _professional("other", "22", ("29881", 900), ("01400", 260), mix=(1, 2, 2)),
    _professional("other", "11", ("93306", 210), ("93000", 18), mix=(1, 4, 6)),
    _professional("other", "11", ("95810", 480), mix=(0.5, 1, 1.5)),
    _professional("other", "24", ("66984", 1300), mix=(0, 1, 2)),
    _facility("other", "831", ("0490", "45378", 820), mix=(0, 2, 2)),
    _professional("other", "81", ("80053", 14), ("85025", 10), ("83036", 13), mix=(4, 12, 12)),
    _professional("other", "81", ("80061", 18), ("84443", 23), mix=(1, 7, 7)),
    _professional("other", "81", ("81003", 4), ("87086", 11), mix=(4, 6, 5)),
    _professional("other", "22", ("71046", 40), mix=(3, 4, 6)),
    _professional("other", "11", ("73030", 45), ("76856", 95), mix=(2, 4, 4)),
    _professional("other", "22", ("74177", 330), mix=(1, 3, 4)),
    _professional("other", "11", ("77067", 150), mix=(0, 2, 2)),
    _professional("other", "11", ("99204", 170), ("93000", 20), mix=(2, 5, 7)),
    _professional("other", "11", ("97110", 60), ("97140", 50), mix=(4, 7, 8)),
    _professional("other", "11", ("92507", 80), mix=(9, 0, 5)),
    _professional("other", "11", ("98941", 40), mix=(1, 6, 4)),
    _professional("other", "11", ("92014", 110), mix=(5, 5, 5)),
    _professional("other", "11", ("11721", 50), mix=(0, 1, 4)),
    _professional("other", "53", ("90834", 105), mix=(9, 11, 14)),
    _professional("other", "11", ("90837", 150), mix=(6, 8, 9)),
    _professional("other", "11", ("90791", 180), mix=(3, 4, 4)),
    _professional("other", "57", ("H0020", 18), ("H0005", 45), mix=(0, 6, 7)),
    _professional("other", "57", ("H0015", 190), mix=(0, 3, 3)),
    _facility("other", "329", ("0551", "G0299", 150), ("0421", "G0151", 140), mix=(1, 1, 7)),
    _professional("other", "12", ("T1000", 260), mix=(1, 0, 4)),
    _facility("other", "811", ("0651", "Q5001", 620), mix=(0, 0.3, 1.5)),
    _professional("other", "41", ("A0429", 410), ("A0425", 60), mix=(1, 2, 3)),
    Template("extra", "dental", "", "11", (("", "D0120", 32), ("", "D1110", 60)), (9, 5, 4)),
    Template("extra", "dental", "", "11", (("", "D2391", 95),), (4, 4, 3)),
    _professional("extra", "99", ("T2003", 35), ("T2049", 22), mix=(1, 4, 9)),
    _professional("extra", "99", ("A0130", 55), mix=(0, 1, 5)),
    _professional("extra", "12", ("E0601", 75), ("A7030", 90), mix=(1, 3, 5)),
    _professional("extra", "12", ("A4253", 40), mix=(1, 4, 6)),
    _professional("extra", "12", ("T1019", 900), mix=(0.3, 0.3, 14)),
    _professional("extra", "12", ("S5125", 480), mix=(0, 0, 7)),
    _professional("extra", "99", ("S5100", 300), mix=(0, 0, 4)),
    _facility("extra", "211", ("0120", "", 5400), mix=(0, 0.1, 3)),
    _facility("extra", "861", ("1001", "", 2600), mix=(0.2, 0.8, 1.5)),
    _professional("capitation", "", ("", 480)),
    _professional("supplement", "", ("", 120)),
    *(_professional(visit_in(place), place, ("99213", 85)) for place in PLACES_ELSEWHERE),
    _facility(
        STAY_VISIT,
        "111",
        ("0120", "", 5200),
        ("0510", "99213", 150),
        drg="194",
        principal=("J189",),
    ),
    _facility(EMERGENCY_VISIT, "131", ("0450", "99283", 420), ("0510", "99213", 90)),
    _professional(CAPITATION_VISIT, "11", ("99213", 40)),
    _professional(SUPPLEMENT_VISIT, "11", ("99213", 25)),
    _professional(DENIED_VISIT, "11", ("99213", 95)),
    _professional(VOIDED_VISIT, "11", ("99213", 95)),
    _professional(LIMITED_VISIT, "11", ("99213", 95)),
    _professional(ASSESSMENT, "11", ("99204", 170)),
)


PREVENTIVE_AGES: Final = (
    (0, "99391"), (1, "99392"), (5, "99393"), (12, "99394"), (18, "99395"), (40, "99396"),
)  # fmt: skip
"""Least age in years of a preventive visit, and its procedure."""

UNITS: Final = {
    "97110": (1, 2, 3, 4), "97140": (1, 2), "A0425": (4, 8, 15, 30), "J1745": (30, 40, 50),
    "G0378": (8, 16, 24, 30), "01400": (4, 8, 12), "G0299": (1, 2, 4), "G0151": (2, 3, 4),
    "T1019": (16, 24, 40), "S5125": (8, 16, 24), "A4253": (1, 2, 4), "T2049": (8, 15, 30),
    "90471": (1, 2),
}  # fmt: skip
"""Units of service of a procedure that is counted, each as often; of all others it is 1. Days of
room and board are those of the stay."""


@dataclass(frozen=True)
class Drug:
    """A drug product: an 11-digit code without hyphens, days supplied, a relative price.

    quantities : units of the drug that are dispensed, each as often
    """

    ndc: str
    days_supply: int
    price: float
    mix: tuple[float, float, float]
    quantities: tuple[str, ...] = ("30", "60")


DRUGS: Final = (
    Drug("00093015001", 30, 12, (1, 6, 8)),
    Drug("00378018501", 30, 9, (1, 7, 8)),
    Drug("68180051301", 30, 11, (0, 6, 8)),
    Drug("00093721410", 90, 24, (0, 5, 6), ("90", "180")),
    Drug("00591040501", 30, 14, (2, 7, 8)),
    Drug("16714029804", 30, 16, (4, 8, 9)),
    Drug("00093312601", 10, 15, (12, 6, 5), ("20", "30")),
    Drug("00781607446", 10, 13, (12, 3, 3), ("100", "150")),
    Drug("59310057922", 30, 58, (9, 5, 7), ("8.5", "17")),
    Drug("00173068220", 30, 62, (7, 4, 6), ("18",)),
    Drug("59417010410", 30, 190, (8, 3, 3), ("30",)),
    Drug("00406052201", 30, 21, (0, 4, 5)),
    Drug("12496120803", 30, 160, (0, 4, 5)),
    Drug("00074055402", 28, 5400, (0.1, 0.5, 0.6), ("2",)),
    Drug("00002143380", 30, 780, (0.2, 2.0, 3.0), ("2", "4")),
    Drug("00088222033", 30, 310, (0.6, 3.0, 5.0), ("10", "15", "30")),
    Drug("59148001313", 30, 720, (0.3, 1.0, 4.0)),
    Drug("61958250101", 30, 3300, (0.0, 0.4, 0.8), ("30",)),
    Drug("00006027731", 30, 420, (0.0, 1.5, 2.0)),
    Drug("51167033101", 30, 21000, (0.02, 0.01, 0.02), ("56",)),
)

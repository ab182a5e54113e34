"""Draws ARCHITECTURE.md's picture of the house from the imports: `make picture`.

    imports of modules -> imports of rooms -> what is not reached anyway -> floors -> text

Without `--write` it only looks, and fails where the page shows another house, or its table lacks a
room: so does `make check`.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final, TypeAlias

import grimp

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "ARCHITECTURE.md"
HOUSES: Final = ("api", "cluster", "ihp_compute", "kernels")
OF_ROOMS: Final = ("ihp_compute", "kernels")
"""Houses that are drawn room by room; the others are one room each."""
BEGIN: Final = "<!-- drawn by `make picture` -->\n```\n"
END: Final = "```\n<!-- to here -->"
WIDTH: Final = 96

Rooms: TypeAlias = Mapping[str, set[str]]


def room_of(module: str) -> str:
    """The room that a module stands in: `ihp_compute.risk.models.audit` in `ihp_compute.risk`."""
    house, *inside = module.split(".")
    return f"{house}.{inside[0]}" if inside and house in OF_ROOMS else house


def imports_of_rooms() -> Rooms:
    """The rooms that each room imports; a house's own face counts only among the kernels."""
    graph = grimp.build_graph(*HOUSES, cache_dir=None)
    rooms: dict[str, set[str]] = {}
    for module in graph.modules - {"ihp_compute"}:
        found = map(room_of, graph.find_modules_directly_imported_by(module))
        rooms.setdefault(room_of(module), set()).update(found)
    return {room: taken - {room, "ihp_compute"} for room, taken in rooms.items()}


def lowest_first(rooms: Rooms) -> list[str]:
    """The rooms, each after all that it imports.

    Raises
    ------
    graphlib.CycleError
        If rooms import each other in a circle.
    """
    return list(TopologicalSorter(rooms).static_order())


def without_detours(rooms: Rooms) -> Rooms:
    """The imports that are not reached through another import of the same room."""
    reached: dict[str, set[str]] = {}
    for room in lowest_first(rooms):
        reached[room] = rooms[room].union(*(reached[below] for below in rooms[room]))
    return {
        room: taken - set().union(*(reached[below] for below in taken))
        for room, taken in rooms.items()
    }


def floors(rooms: Rooms) -> dict[str, int]:
    """The floor of each room in its house: one above the highest that it imports there."""
    found: dict[str, int] = {}
    for room in lowest_first(rooms):
        below = [found[other] for other in rooms[room] if _house(other) == _house(room)]
        found[room] = 1 + max(below, default=0)
    return found


def picture() -> str:
    """The house as text, floors top to bottom, each room with the rooms that it enters."""
    rooms = imports_of_rooms()
    shown, floor = without_detours(rooms), floors(rooms)

    def order(room: str) -> tuple[int, int, str]:
        return HOUSES.index(_house(room)), -floor[room], room

    by_house: dict[str, list[str]] = defaultdict(list)
    for room in sorted(rooms, key=order):
        by_house[_house(room)].append(room)
    lines: list[str] = []
    for house in HOUSES:
        lines.append(f"── {house} ".ljust(WIDTH, "─"))
        last = 0
        for room in by_house[house]:
            told = house in OF_ROOMS and floor[room] != last
            number = str(floor[room]) if told else ""
            last = floor[room]
            taken = sorted(shown[room], key=order)
            arrow = f" ▸ {'  '.join(_name(below, house) for below in taken)}" if taken else ""
            lines.append(f"{number:>3}  {_name(room, house):<13}{arrow}".rstrip())
    return "\n".join(lines) + "\n"


def _house(room: str) -> str:
    return room.split(".", maxsplit=1)[0]


def _name(room: str, house: str) -> str:
    """A room as it is called in a house: only the kernels' are called in full elsewhere."""
    if room == house and house in OF_ROOMS:
        return "(face)"
    return room.removeprefix("ihp_compute.").removeprefix(f"{house}.")


def main() -> str | None:
    """Compare the page with the imports, or write it; returns what is wrong, if anything is."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        return f"{PAGE.name}: no place for the picture, expected {BEGIN!r} and then {END!r}"
    new = picture()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(before + begin + new + end + after, encoding="utf-8")
    elif old != new:
        return f"{PAGE.name}: shows another house than the imports; `make picture` draws it anew"
    rows = re.findall(r"^\| (`.*?) \|", after, re.MULTILINE)
    told = {word for row in rows for word in row.split("`")}
    domain = {_name(room, "") for room in imports_of_rooms() if _house(room) == "ihp_compute"}
    if missing := domain - told:
        return f"{PAGE.name}: its table of rooms lacks {', '.join(sorted(missing))}"
    return None


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())

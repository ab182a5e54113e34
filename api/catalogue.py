"""Every command of `ihp`: what it is for, the module that has it, an example. Imports none of them.

A command's module is imported when the command is called, so that `ihp --help`, `ihp --version` and
the names that a shell completes wait for no array library.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Final, NamedTuple

import typer
from typer.core import TyperGroup


class Entry(NamedTuple):
    """A command: its module in `api.commands`, what it is for, and calls of it that are shown."""

    module: str
    summary: str
    examples: tuple[str, ...]


COMMANDS: Final[dict[str, Entry]] = {
    "demo": Entry("data", "Make, settle and report a synthetic state.", ("--members 5000",)),
    "doctor": Entry("explore", "Say what this machine lacks, and what that would bring.", ("",)),
    "synth": Entry(
        "data", "Write a synthetic state with known answers.", ("--members 5000 --out raw",)
    ),
    "ingest": Entry(
        "data",
        "Prepare a population from raw tables.",
        (
            "raw --out population",
            'raw --out population --accept thin_month="plan B sent none in May"',
            "june --onto population --out population-june",
        ),
    ),
    "run": Entry(
        "run",
        "Settle every partnership of a population.",
        (
            "population --contracts mn-ihp-2.0-track-2 --out run",
            "population --contracts state-2024.toml --paid-through 2025-06-30 --out run",
            "population --contracts mn-ihp-2.0-track-2 --plan",
        ),
    ),
    "report": Entry(
        "report",
        "Write a run as a page, a workbook or a PDF.",
        ("run --html report.html", "run --xlsx workbook.xlsx"),
    ),
    "tables": Entry("tables", "Write a run's tables as files.", ("run --out tables --format csv",)),
    "explain": Entry(
        "explore",
        "Say why a partnership, a person or a claim came out so.",
        ("run --partnership IHP-01", "run --member M0000001", "population --claim C1"),
    ),
    "verify": Entry("explore", "Compute digests again and compare.", ("run", "population")),
    "attribution": Entry(
        "attribution",
        "Show who belongs to whom, or what another rule moves.",
        ("run", "run other-run"),
    ),
    "sweep": Entry(
        "sweep",
        "Settle a run under a grid of terms.",
        ("run --grid grid.toml --out sweep.parquet",),
    ),
    "summary": Entry(
        "summary", "Show the programme over years.", ("run-2023 run-2024 --out summary.html",)
    ),
    "completion": Entry(
        "completion", "Show how complete a year's claims are.", ("population --year 2024",)
    ),
    "true-up": Entry(
        "completion", "Show final less interim payments.", ("run-final --interim run-interim",)
    ),
    "settle": Entry(
        "contracts",
        "Settle given targets and costs; no claims needed.",
        ("totals.csv --contract mn-ihp-2.0-track-2 --out settled.csv",),
    ),
    "pbp": Entry(
        "payments",
        "Pay in advance, by partnership and payer.",
        ("population --quarter 2024Q3 --contracts state.toml --out payments.csv",),
    ),
    "score": Entry(
        "risk",
        "Score members with a risk model.",
        ("members.csv diagnoses.csv --model cms-hcc-v28 --out scores.csv",),
    ),
    "calibrate": Entry(
        "risk",
        "Estimate a state's own risk weights.",
        ("population --contract mn-ihp-2.0-track-2 --model cms-hcc-v28 --out weights.json",),
    ),
    "contracts": Entry("contracts", "List, show, copy and check contracts.", ("list",)),
    "risk": Entry("risk", "List and import risk models.", ("list",)),
    "serve": Entry("service", "Serve a team over HTTP.", ("--home /srv/ihp --port 8000",)),
    "keys": Entry("service", "Make, list and revoke API keys.", ("list",)),
    "audit": Entry("audit", "Hold what a service kept of who did what to its chain.", ("verify",)),
    "backup": Entry(
        "backup", "Copy a service's home into one file.", ("--home /srv/ihp --out ihp.tar",)
    ),
    "restore": Entry(
        "backup", "Make a service's home of a backup.", ("ihp.tar --home /srv/ihp-2",)
    ),
}
"""By name, in the order of the work."""
EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "contracts list": ("",),
    "contracts show": ("mn-ihp-2.0-track-2",),
    "contracts new": ("mn-ihp-2.0-track-2 --as north-2024",),
    "contracts check": ("north-2024.toml",),
    "contracts paths": ("",),
    "risk list": ("",),
    "risk import": ("hhs-hcc-2024 --as hhs-2024",),
    "keys create": ("--scope runs:read --owner 'B. Analyst' --days 30", "--operator"),
    "keys list": ("",),
    "keys revoke": ("KEY_ID",),
    "audit verify": ("--home /srv/ihp",),
}
"""Of commands within a command."""


def load(module: str) -> None:
    """Have a module add its commands to the application."""
    importlib.import_module(f"api.commands.{module}")


class Late(TyperGroup):
    """The commands of `COMMANDS`, each imported when it is wanted.

    `application` is what their modules add themselves to; whoever makes it of this class says so.
    """

    application: ClassVar[typer.Typer]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Names in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        """A command, imported now; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        load(COMMANDS[cmd_name].module)
        found = typer.main.get_group(self.application).commands[cmd_name]
        _with_examples(found, cmd_name, COMMANDS[cmd_name].examples)
        for name, inner in getattr(found, "commands", {}).items():
            _with_examples(inner, f"{cmd_name} {name}", EXAMPLES.get(f"{cmd_name} {name}", ()))
        return found

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - likewise
        """List the commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Names of commands that begin so, without importing one."""
        from typer._click.shell_completion import CompletionItem  # noqa: PLC0415 - for shells alone

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=entry.summary)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant; one that is nearly named is asked about."""
        names: Any = dict.fromkeys(COMMANDS)  # only names are compared
        self.commands = names
        return super().resolve_command(ctx, args)


def _with_examples(command: Any, path: str, examples: tuple[str, ...]) -> None:
    """Put calls below a command's help, a line each."""
    if examples:
        lines = "\n".join(f"  ihp {path} {example}".rstrip() for example in examples)
        command.epilog = f"\b\nExamples:\n{lines}"

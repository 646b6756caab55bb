"""What every command is told by the options before it, and how it answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from featurebank.progress import Reporter


@dataclass(frozen=True)
class Settings:
    """The options that stand before the command."""

    cache: Path
    quiet: bool
    verbose: bool

    def reporter(self) -> Reporter:
        """Returns where a stage shows its progress."""
        from featurebank.cli.reporter import TerminalReporter
        from featurebank.progress import Reporter

        if self.quiet:
            return Reporter()
        reporter = TerminalReporter()
        if context := click.get_current_context(silent=True):
            context.call_on_close(reporter.close)
        return reporter


as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")


def print_json(value: Any) -> None:
    """Prints one JSON document on standard output."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))

"""The options that every command understands, before its name and after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from featurebank.system.hints import set_global_options
from featurebank.system.progress import Advance, Reporter
from featurebank.system.runtime import default_cache, set_native_logs, set_ram, set_threads


@dataclass
class Settings:
    """The values of the options that every command understands."""

    cache: Path = field(default_factory=default_cache)
    quiet: bool = False
    verbose: bool = False
    repeated: dict[str, str] = field(default_factory=dict)
    """Options that a command in a message repeats."""
    _reporter: Reporter | None = None

    def reporter(self) -> Reporter:
        """Returns where a stage shows its progress: one for the whole command."""
        if self._reporter is None:
            from featurebank.cli.reporter import TerminalReporter

            self._reporter = Reporter() if self.quiet else TerminalReporter(verbose=self.verbose)
            if isinstance(self._reporter, TerminalReporter) and (context := click.get_current_context(silent=True)):
                context.call_on_close(self._reporter.close)
        return self._reporter

    def take(self, option: str, value: Any) -> None:
        """Takes the value of an option that was given."""
        if option in {"cache", "threads", "ram"}:
            self.repeated[f"--{option}"] = str(value)
            set_global_options([word for pair in self.repeated.items() for word in pair])
        if option == "threads":
            set_threads(value)
        elif option == "ram":
            set_ram(value)
        else:
            setattr(self, option, value)
        set_native_logs(shown=self.verbose)


class Current(Reporter):
    """Shows in the way of the settings as they are then: options after the command's name may still change them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def track(self, what: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Shows how far a piece of work is."""
        return self._settings.reporter().track(what, total, unit)

    def step(self, what: str) -> AbstractContextManager[None]:
        """Shows what is done."""
        return self._settings.reporter().step(what)

    def detail(self, text: str) -> None:
        """Shows how far the present piece of the work is."""
        self._settings.reporter().detail(text)


def reset() -> None:
    """Forgets what an earlier command of this process has chosen."""
    set_threads(None)
    set_ram(None)
    set_global_options(())
    set_native_logs(shown=False)


def _take(context: click.Context, option: click.Parameter, value: Any) -> None:
    settings = context.ensure_object(Settings)
    if value is not None and value is not False and option.name:
        settings.take(option.name, value)


def global_options(*, hidden: bool) -> list[click.Option]:
    """Returns the options that every command understands; `hidden` ones are not in the help."""
    more: dict[str, Any] = {"expose_value": False, "callback": _take, "hidden": hidden}
    return [
        click.Option(
            ["--cache"], type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
            help="Directory of the banks.  [default: $FEATUREBANK_CACHE, else ./cache]", **more,
        ),
        click.Option(
            ["--threads"], type=int, metavar="N", help="Threads of all libraries together.  [default: one a core]",
            **more,
        ),
        click.Option(
            ["--ram"], metavar="SIZE", help="Memory for features and heads, as 8GB.  [default: half of the machine's]",
            **more,
        ),
        click.Option(["-q", "--quiet"], is_flag=True, help="Print results and errors only.", **more),
        click.Option(
            ["-v", "--verbose"], is_flag=True, help="Also print details, logs of libraries and tracebacks.", **more
        ),
    ]  # fmt: skip


as_json: Callable[..., Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on standard output."
)

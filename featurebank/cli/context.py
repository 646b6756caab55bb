"""The global options, which every command accepts before and after its name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from featurebank.system.hints import set_global_options
from featurebank.system.progress import Advance, Reporter
from featurebank.system.runtime import default_cache, limit_ram, limit_threads, set_native_logs


@dataclass
class Settings:
    """The values of the global options."""

    cache: Path = field(default_factory=default_cache)
    quiet: bool = False
    verbose: bool = False
    repeated: dict[str, str] = field(default_factory=dict)
    """Options that commands in messages repeat, such as `--cache DIR`."""
    _reporter: Reporter | None = None

    def reporter(self) -> Reporter:
        """Returns the reporter that shows the progress of all stages of the command."""
        if self._reporter is None:
            from featurebank.cli.reporter import TerminalReporter

            self._reporter = Reporter() if self.quiet else TerminalReporter(verbose=self.verbose)
            if isinstance(self._reporter, TerminalReporter) and (context := click.get_current_context(silent=True)):
                context.call_on_close(self._reporter.close)
        return self._reporter

    def set(self, option: str, value: Any) -> None:
        """Stores the value of an option and applies it."""
        if option in {"cache", "threads", "ram"}:
            self.repeated[f"--{option}"] = str(value)
            set_global_options([word for pair in self.repeated.items() for word in pair])
        if option == "threads":
            limit_threads(value)
        elif option == "ram":
            limit_ram(value)
        else:
            setattr(self, option, value)
        set_native_logs(shown=self.verbose)


class Current(Reporter):
    """Passes progress to the reporter of the settings at that time: options after the command's name may change it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def track(self, what: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Shows the progress of countable work."""
        return self._settings.reporter().track(what, total, unit)

    def step(self, what: str) -> AbstractContextManager[None]:
        """Shows the name of the current work."""
        return self._settings.reporter().step(what)

    def detail(self, text: str) -> None:
        """Shows the progress of the current item."""
        self._settings.reporter().detail(text)


def reset() -> None:
    """Resets the global options that an earlier command of this process has set."""
    limit_threads(None)
    limit_ram(None)
    set_global_options(())
    set_native_logs(shown=False)


def _store(context: click.Context, option: click.Parameter, value: Any) -> None:
    settings = context.ensure_object(Settings)
    if value is not None and value is not False and option.name:
        settings.set(option.name, value)


def global_options(*, hidden: bool) -> list[click.Option]:
    """Returns the global options; if `hidden`, the help omits them."""
    more: dict[str, Any] = {"expose_value": False, "callback": _store, "hidden": hidden}
    return [
        click.Option(
            ["--cache"], type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
            help="Directory of the banks.  [default: $FEATUREBANK_CACHE, or ./cache]", **more,
        ),
        click.Option(
            ["--threads"], type=int, metavar="N", help="Threads of all libraries together.  [default: one per core]",
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

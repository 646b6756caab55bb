"""The global options, which every command accepts before and after its name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from featurebank.storage.address import parse_address
from featurebank.storage.caches import cache_directory, limit_local_cache
from featurebank.system.hints import set_global_options
from featurebank.system.progress import Advance, Reporter
from featurebank.system.runtime import limit_ram, limit_threads, set_native_logs


@dataclass
class Settings:
    """The values of the global options."""

    place: str | None = None
    """The directory or the bucket of the banks, as given by `--cache`."""
    quiet: bool = False
    verbose: bool = False
    repeated: dict[str, str] = field(default_factory=dict)
    """Options that commands in messages repeat, such as `--cache DIR`."""
    _reporter: Reporter | None = None

    @property
    def cache(self) -> Path:
        """The directory of the banks; that of its mirror for a cache in a bucket, which is asked for the first time."""
        return cache_directory(self.place)

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
        if option in {"cache", "threads", "ram", "local_cache"}:
            self.repeated[f"--{option.replace('_', '-')}"] = str(value)
            set_global_options([word for pair in self.repeated.items() for word in pair])
        if option == "threads":
            limit_threads(value)
        elif option == "ram":
            limit_ram(value)
        elif option == "local_cache":
            limit_local_cache(value)
        elif option == "cache":
            self.place = str(value)
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
    limit_local_cache(None)
    set_global_options(())
    set_native_logs(shown=False)


class _Cache(click.Path):
    """A directory, or the address of a bucket."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns an address as it is."""
        return value if parse_address(value) else super().convert(value, param, ctx)


def _store(context: click.Context, option: click.Parameter, value: Any) -> None:
    settings = context.ensure_object(Settings)
    if value is not None and value is not False and option.name:
        settings.set(option.name, value)


def global_options(*, hidden: bool) -> list[click.Option]:
    """Returns the global options; if `hidden`, the help omits them."""
    more: dict[str, Any] = {"expose_value": False, "callback": _store, "hidden": hidden}
    return [
        click.Option(
            ["--cache"], type=_Cache(file_okay=False), metavar="DIR",
            help="Directory of the banks, or s3://BUCKET/PREFIX.  [default: $FEATUREBANK_CACHE, or ./cache]", **more,
        ),
        click.Option(
            ["--local-cache"], metavar="SIZE",
            help="Disk space for shards of a cache in a bucket, as 50GB.  [default: half of the free space]", **more,
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

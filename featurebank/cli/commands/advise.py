"""`featurebank advise`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.commands.heads import bank_option
from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import open_bank, without_defaults
from featurebank.cli.terminal import echo, print_json, shown_path

if TYPE_CHECKING:
    from featurebank.advice.corrections import Relabelling

_OF_ADVICE = ("tap", "unlabelled", "label", "top", "output", "csv", "queue")
"""Options that mean nothing with --apply."""


@click.command()
@bank_option
@click.option("--tap", metavar="TAP", help="Tap of vectors to examine.  [default: pooled, or the first]")
@click.option(
    "--unlabelled", multiple=True, metavar="DIR",
    help="Say which images of a folder to label next; repeatable. Those that the bank lacks run through its network.",
)  # fmt: skip
@click.option("--label", type=int, metavar="N", help="List N groups of similar images to label next.  [default: 50]")
@click.option(
    "--top", type=int, metavar="N", help="List the N least probable labels.  [default: those that look wrong]"
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Also write a page with the pictures as one HTML file.",
)  # fmt: skip
@click.option(
    "--csv", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Also write the labels that look wrong as a CSV file, to correct it and hand it to --apply.",
)  # fmt: skip
@click.option(
    "--queue", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Also write the images to label next as a CSV file.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the files of -o, --csv and --queue if they exist.")
@click.option(
    "--apply", "corrections", type=click.Path(path_type=Path), metavar="FILE",
    help="Relabel images of the bank as a CSV file with the columns path and label says; no file of yours changes.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="With --apply: print what would change, and change nothing.")
@as_json
@click.pass_obj
def advise(
    settings: Settings, /, bank: str | None, corrections: Path | None, *, dry_run: bool, force: bool, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Say what a bank shows about its data.

    It finds labels that look wrong, nearly equal images with different labels, classes that are mixed up and outliers,
    forecasts what more images would bring, and says which images to label next.
    """
    if corrections is None and dry_run:
        message = "--dry-run requires --apply FILE: add it, or omit --dry-run"
        raise click.UsageError(message)
    if corrections is None:
        _advise(settings, bank, options, force=force, as_json=as_json)
        return
    if without_defaults(options).keys() & set(_OF_ADVICE):
        message = "--apply only relabels: omit the options of the advice, or run them in a second command"
        raise click.UsageError(message)
    from featurebank.advice.corrections import correct_bank

    done = correct_bank(open_bank(settings, bank), corrections, dry_run=dry_run, reporter=settings.reporter())
    if as_json:
        print_json(_json(done))
    else:
        _print(done, dry_run=dry_run)


def _advise(settings: Settings, bank: str | None, options: dict[str, Any], *, force: bool, as_json: bool) -> None:
    from featurebank.advice.page import queue_sources, write_page
    from featurebank.advice.stage import AdviseOptions, run_advice
    from featurebank.errors import ConfigError
    from featurebank.similarity.queries import Queries
    from featurebank.system.files import PAGES, check_output

    output, folders = options.pop("output"), options.pop("unlabelled")
    tables: dict[str, Path | None] = {"label_errors": options.pop("csv"), "queue": options.pop("queue")}
    checked = AdviseOptions(**without_defaults(options))
    for path, suffixes in ((output, PAGES), *((path, (".csv",)) for path in tables.values())):
        if path:
            check_output(path, force=force, suffixes=suffixes)
    if tables["queue"] and tables["label_errors"] and tables["queue"].resolve() == tables["label_errors"].resolve():
        message = f"--csv and --queue both name '{tables['queue']}', where one would replace the other: name two files"
        raise click.UsageError(message)
    examined, reporter = open_bank(settings, bank), settings.reporter()
    queries = Queries.named(folders, examined) if folders else None
    advice = run_advice(examined, checked, unlabelled=queries, reporter=reporter)
    if tables["queue"] and advice.labelling is None:
        message = f"there are no images to label for '{tables['queue']}': name their folder with --unlabelled DIR"
        raise ConfigError(message)
    if output:
        sources = queue_sources(queries) if queries else None
        write_page(advice, output, sources=sources, force=force, reporter=reporter)
    for name, path in tables.items():
        if path:
            advice.write_csv(path, name)
    files = {"page": output, "csv": tables["label_errors"], "queue_csv": tables["queue"]}
    if as_json:
        print_json({**advice.to_json(), **{name: path and str(path) for name, path in files.items()}})
        return
    from featurebank.cli.advice_view import next_step, print_advice

    print_advice(advice)
    for name, path in files.items():
        if path:
            echo(f"{name.removesuffix('_csv')}: {path}")
    if any(one.is_doubted for one in advice.label_errors):
        echo(next_step(tables["label_errors"], bank))


def _json(done: Relabelling) -> dict[str, Any]:
    changes = [{"path": one.id, "was": one.was, "label": one.label, "split": one.split} for one in done.changes]
    return {
        "bank": shown_path(done.bank.path), "applied": done.applied, "changes": changes, "unchanged": done.unchanged,
        "notes": done.notes,
    }  # fmt: skip


def _print(done: Relabelling, *, dry_run: bool) -> None:
    from featurebank.cli.tables import print_table
    from featurebank.words import counted

    if not done.changes:
        echo(f"nothing to change: {counted(done.unchanged, 'row')} with the label that the image has already")
        return
    rows = [(one.id, one.was, one.label, one.split) for one in done.changes]
    print_table(("image", "label", "new label", "split"), rows, whole=["split"])
    verb = "would change" if dry_run else "changed"
    echo(f"{counted(len(rows), 'label')} {verb}, {done.unchanged} as before; files of the dataset stay as they are")
    for line in done.notes:
        echo(line)

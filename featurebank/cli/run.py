"""`featurebank run`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from featurebank.cli.board import board_json, print_best, print_board
from featurebank.cli.extract import print_extraction, to_json
from featurebank.cli.settings import Settings, as_json, print_json

_SHOWN = 12


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Change one value; repeatable.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@as_json
@click.pass_obj
def run(settings: Settings, pipeline: Path, overrides: tuple[str, ...], *, dry_run: bool, as_json: bool) -> None:
    """All stages of a pipeline file; what is up to date is skipped."""
    from featurebank.config import read_pipeline
    from featurebank.pipeline import plan_pipeline, run_pipeline

    began = time.perf_counter()
    wanted = read_pipeline(pipeline, overrides)
    if dry_run:
        _print_plan(plan_pipeline(wanted, cache=settings.cache, reporter=settings.reporter()), as_json=as_json)
        return
    result = run_pipeline(wanted, cache=settings.cache, reporter=settings.reporter())
    seconds = time.perf_counter() - began
    if as_json:
        board = board_json(result.runs, result.chosen)
        tuned = (
            {"finetune": {"run": result.finetuned.run, **(result.finetuned.finetune or {})}} if result.finetuned else {}
        )
        print_json({"extract": to_json(result.extraction), **board, **tuned, "seconds": round(seconds, 3)})
        return
    print_extraction(result.extraction)
    print_board(result.runs, result.chosen, more="featurebank leaderboard --top", top=_SHOWN)
    if result.finetuned and result.finetuned.finetune:
        click.echo(f"finetune: {result.finetuned.finetune['gain']['worth']}")
    print_best(result.extraction.bank, result.chosen)
    click.echo(f"done in {seconds:.1f} s")


def _print_plan(plan: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    from featurebank.cli.tables import size

    work, heads = plan["extract"], plan["heads"]
    written = "a size known only once the network is built" if work["bytes"] is None else size(work["bytes"])
    seconds = "no estimate before the first extraction" if work["seconds"] is None else f"about {work['seconds']:.0f} s"
    if work["missing"]:
        click.echo(f"extract: {work['missing']} of {work['rows']} images, {written}, {seconds}")
    else:
        click.echo(f"extract: up to date ({work['rows']} images)")
    click.echo(f"  bank: {work['bank']}")
    judged = [f"{heads['seeds']} seeds", *([f"{heads['folds']} folds x {heads['repeats']}"] if heads["folds"] else [])]
    searched = [*([heads["search"]] if heads["search"] != "all" else []), *_within(heads["budget"])]
    told = ", ".join([f"grid {heads['grid']}", f"{heads['runs']} heads", *judged, *searched])
    click.echo(f"heads: {told}; {heads['known']} runs known")
    if tuned := plan.get("finetune"):
        click.echo(f"finetune: from {tuned['from']}: {', then '.join(tuned['phases'])}")
    click.echo(f"select: by validation accuracy{', then the test split' if plan['select']['test'] else ''}")


def _within(budget: float | None) -> list[str]:
    return [] if budget is None else [f"within {budget:g} s"]

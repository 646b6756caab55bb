"""`featurebank run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.board import board_json, print_best, print_board, print_variants
from featurebank.cli.extract import print_extraction, to_json
from featurebank.cli.settings import Settings, as_json, print_json

if TYPE_CHECKING:
    from featurebank.pipeline import VariantResult

_SHOWN = 12


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE",
    help="Change one value; VARIANT.SECTION.KEY=VALUE of one variant; repeatable.",
)  # fmt: skip
@click.option("--variant", "only", multiple=True, metavar="NAME", help="Run this variant of the file; repeatable.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@as_json
@click.pass_obj
def run(
    settings: Settings, pipeline: Path, overrides: tuple[str, ...], only: tuple[str, ...], *, dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """All stages of a pipeline file; what is up to date is skipped."""
    from featurebank.pipeline import plan_variants, run_variants
    from featurebank.variants import read_variants

    variants = read_variants(pipeline, overrides, only)
    if dry_run:
        plans = plan_variants(variants, cache=settings.cache, reporter=settings.reporter())
        _print_plans([(v.name, plan) for v, plan in zip(variants, plans, strict=True)], as_json=as_json)
        return
    found = []
    for done in run_variants(variants, cache=settings.cache, reporter=settings.reporter()):
        found.append(done)
        if not as_json:
            _print_result(done)
    if as_json:
        print_json(_all_json([(done.name, _result_json(done)) for done in found]))
    elif found[0].name:
        print_variants(found)


def _all_json(told: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Returns what is told of each variant; of a file without variants, that alone."""
    return {"variants": [{"name": name, **keys} for name, keys in told]} if told[0][0] else told[0][1]


def _result_json(done: VariantResult) -> dict[str, Any]:
    result = done.result
    tuned = result.finetuned
    return {
        "extract": to_json(result.extraction), **board_json(result.runs, result.chosen),
        **({"finetune": {"run": tuned.run, **(tuned.finetune or {})}} if tuned else {}),
        "seconds": round(done.seconds, 3),
    }  # fmt: skip


def _print_result(done: VariantResult) -> None:
    result = done.result
    if done.name:
        click.echo(f"variant {done.name}")
    print_extraction(result.extraction)
    print_board(result.runs, result.chosen, more="featurebank leaderboard --top", top=_SHOWN)
    if result.finetuned and result.finetuned.finetune:
        click.echo(f"finetune: {result.finetuned.finetune['gain']['worth']}")
    print_best(result.extraction.bank, result.chosen, result.runs)
    click.echo(f"done in {done.seconds:.1f} s")


def _print_plans(plans: list[tuple[str, dict[str, Any]]], *, as_json: bool) -> None:
    if as_json:
        print_json(_all_json(plans))
        return
    for name, plan in plans:
        if name:
            click.echo(f"variant {name}")
        _print_plan(plan)


def _print_plan(plan: dict[str, Any]) -> None:
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

"""`featurebank run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.commands.race import print_round, race_json
from featurebank.cli.commands.report import print_report, report_json
from featurebank.cli.context import Settings, as_json
from featurebank.cli.extraction_view import print_extraction, to_json
from featurebank.cli.leaderboard_view import board_json, print_best, print_board
from featurebank.cli.terminal import echo, print_json
from featurebank.cli.variants_view import print_variants
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.pipeline import VariantResult

_SHOWN = 12


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE",
    help="Change a value of the file; VARIANT.SECTION.KEY=VALUE changes it in one variant only; repeatable.",
)  # fmt: skip
@click.option(
    "--variant", "only", multiple=True, metavar="NAME", help="Run this variant only; repeatable.  [default: all]"
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and stop.")
@click.option(
    "--measure", is_flag=True,
    help="With --dry-run: run each network for two seconds to estimate bytes and hours; downloads nothing.",
)  # fmt: skip
@as_json
@click.pass_obj
def run(
    settings: Settings, pipeline: Path, overrides: tuple[str, ...], only: tuple[str, ...], *, dry_run: bool,
    measure: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run all stages of a pipeline file.

    PIPELINE is a TOML file. Stages that are up to date are skipped.
    """
    from featurebank.bank.last_use import note_use
    from featurebank.pipeline import open_test_once, plan_variants, run_all, write_reports
    from featurebank.pipeline.variants import variants_from_file

    variants = variants_from_file(pipeline, overrides, only)
    if measure and not dry_run:
        message = "--measure requires --dry-run: add it, or omit --measure"
        raise click.UsageError(message)
    if dry_run:
        plans = plan_variants(variants, cache=settings.cache, measure=measure, reporter=settings.reporter())
        _print_plans([(v.name, plan) for v, plan in zip(variants, plans, strict=True)], as_json=as_json)
        return
    results = []
    for variant in run_all(variants, cache=settings.cache, reporter=settings.reporter()):
        results.append(variant)
        note_use(settings.cache, variant.result.extraction.bank.path, "run")
        if not as_json:
            _print_result(variant)
    results = open_test_once(variants, results, reporter=settings.reporter())
    results = write_reports(variants, results, reporter=settings.reporter())
    if as_json:
        print_json(_all_json([(variant.name, _result_json(variant)) for variant in results]))
        return
    if results[0].name:
        print_variants(results)
    for written in {done.result.report.path: done.result.report for done in results if done.result.report}.values():
        print_report(written)


def _all_json(variants: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Returns the JSON value of all variants; without variants, that of the file itself."""
    return {"variants": [{"name": name, **keys} for name, keys in variants]} if variants[0][0] else variants[0][1]


def _result_json(variant: VariantResult) -> dict[str, Any]:
    result = variant.result
    tuned = result.finetuned
    return {
        **({"race": race_json(result.race)} if result.race else {}),
        "extract": to_json(result.extraction), **board_json(result.runs, result.chosen, metric=result.metric),
        **({"finetune": {"run": tuned.run, **(tuned.finetune or {})}} if tuned else {}),
        "seconds": round(variant.seconds, 3),
        **({"report": report_json(result.report)} if result.report else {}),
    }  # fmt: skip


def _print_result(variant: VariantResult) -> None:
    result = variant.result
    if variant.name:
        echo(f"variant {variant.name}")
    if result.race:
        for scores in result.race.rounds:
            print_round(scores)
        echo(result.race.verdict)
    print_extraction(result.extraction)
    more = f"featurebank leaderboard --bank {result.extraction.bank.name}"
    print_board(result.runs, result.chosen, more=more, top=_SHOWN, metric=result.metric)
    if result.finetuned and result.finetuned.finetune:
        echo(f"finetune: {result.finetuned.finetune['gain']['worth']}")
    print_best(result.extraction.bank, result.chosen, result.runs, metric=result.metric)
    echo(f"done in {variant.seconds:.1f} s")


def _print_plans(plans: list[tuple[str, dict[str, Any]]], *, as_json: bool) -> None:
    if as_json:
        print_json(_all_json(plans))
        return
    for name, plan in plans:
        if name:
            echo(f"variant {name}")
        _print_plan(plan)


def _print_plan(plan: dict[str, Any]) -> None:
    work, heads = plan["extract"], plan["heads"]
    for text in plan["downloads"]:
        echo(f"download: {text}")
    if race := plan.get("race"):
        echo(f"race: {', '.join(race['backbones'])}; what follows is about the first, as if it won")
    echo(f"extract: {_planned_rows(work)}")
    echo(f"  bank: {work['bank'] or 'its name depends on the download'}")
    evaluated = [counted(heads["seeds"], "seed")]
    evaluated += [f"{counted(heads['folds'], 'fold')} x {heads['repeats']}"] if heads["folds"] else []
    searched = [*([heads["search"]] if heads["search"] != "all" else []), *_within(heads["budget"])]
    line = ", ".join([f"grid {heads['grid']}", counted(heads["runs"], "head"), *evaluated, *searched])
    echo(f"heads: {line}; {counted(heads['known'], 'run')} known")
    if heads["tail_seconds"]:
        echo(f"  tails and fresh stages: {_duration(heads['tail_seconds'])} at most, if no head stops early")
    if tuned := plan.get("finetune"):
        most = f"; {_duration(tuned['seconds'])} at most, if no phase stops early" if tuned["seconds"] else ""
        echo(f"finetune: from {tuned['from']}: {', then '.join(tuned['phases'])}{most}")
    tested = {False: "", True: ", then the test split", "once": ", then the test split of the best variant"}
    echo(f"select: by validation {plan['select']['metric']}{tested[plan['select']['test']]}")
    if page := plan.get("report"):
        echo(f"report: {page['output']}")


def _planned_rows(work: dict[str, Any]) -> str:
    from featurebank.cli.tables import size

    if work["missing"] is None:
        return "the number of rows is known only after the download"
    if not work["missing"]:
        known = "same rows as earlier variants" if work["shared"] else "up to date"
        return known + ("" if work["rows"] is None else f" ({counted(work['rows'], 'image')})")
    written = "bytes unknown (see --measure)" if work["bytes"] is None else size(work["bytes"])
    seconds = "time unknown (see --measure)" if work["seconds"] is None else _duration(work["seconds"])
    rows = "images" if work["missing"] == work["rows"] else f"rows of {counted(work['rows'], 'image')}"
    return f"{'at most ' if work['at_most'] else ''}{work['missing']} {rows}, {written}, {seconds}"


def _duration(seconds: float) -> str:
    """Formats a duration: "about 40 s", "about 12 min", "about 3.5 h"."""
    if seconds < 100:  # noqa: PLR2004 - above that, minutes are clearer
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 6000 else f"about {seconds / 3600:.1f} h"  # noqa: PLR2004


def _within(budget: float | None) -> list[str]:
    return [] if budget is None else [f"within {budget:g} s"]

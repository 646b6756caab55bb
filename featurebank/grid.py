"""Stage: a bank and a grid -> runs.

A run is known by the digest of its specification, its seed and the bank, and is recorded as soon as it is trained: a
grid that is stopped goes on where it was, and one that grows trains only what is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from featurebank import digest
from featurebank.bank import Bank
from featurebank.config import read_grid
from featurebank.errors import ConfigError, FeatureBankError, HeadError
from featurebank.heads.catalog import full_params, is_random, make_head
from featurebank.heads.fitting import Fitted, TrainingData, fit_heads
from featurebank.heads.runs import HeadSpec, Run, load_runs, run_id
from featurebank.heads.saved import SUFFIX, save_head
from featurebank.heads.standing import ranked
from featurebank.progress import SILENT, Reporter

_NOT_KEPT = "its weights are not kept"

Grid = str | Sequence[Mapping[str, Any]]
"""The name of a built-in grid, the path of a grid file, or specifications: dicts with `kind`, `tap` and parameters."""


def train_heads(
    bank: Bank,
    grid: Grid = "default",
    *,
    seeds: int | Sequence[int] = 1,
    taps: Sequence[str] | None = None,
    reporter: Reporter = SILENT,
) -> list[Run]:
    """Trains the heads of a grid on a bank's training images and scores them on its validation images.

    What was trained before is taken from its record. The weights of the run that ranks first are kept. The test split
    is not touched.

    Args:
        bank: the features.
        grid: what to train.
        seeds: how many seeds (0, 1, ...), or which; heads without chance are trained once.
        taps: what heads are trained on that name no tap themselves; default "pooled", where the bank has it.
        reporter: where progress is shown.

    Returns:
        The runs of this grid, best first; failed ones last.

    Raises:
        ConfigError: the grid is wrong; every problem is told and nothing was started.
        DatasetError: a split is empty, or the training images are of one class.
        HeadError: every run failed.
    """
    specs = expand(grid, bank, taps)
    chosen = range(seeds) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if any(seed < 0 for seed in chosen):
        message = f"seeds are {list(chosen)}: expected whole numbers of 0 or more"
        raise ConfigError(message)
    planned = {run_id(spec, seed, bank): (spec, seed) for spec in specs for seed in _seeds(spec, chosen)}
    if not planned:
        message = f"no run is planned: seeds are {seeds!r}, expected one or more"
        raise ConfigError(message)
    known = {run.run: run for run in load_runs(bank)}
    missing = {run: planned[run] for run in planned if run not in known}
    reporter.say(f"{len(planned)} runs: {len(planned) - len(missing)} trained before, {len(missing)} to train")
    if missing:
        _train(bank, missing, known, reporter)
    runs = ranked(known[run] for run in planned)
    if runs[0].failure:
        message = f"all {len(runs)} runs failed; the first: {runs[0].spec}: {runs[0].failure}"
        raise HeadError(message)
    return runs


def expand(grid: Grid, bank: Bank, taps: Sequence[str] | None = None) -> list[HeadSpec]:
    """Returns the distinct specifications of a grid, each checked as far as that goes without training.

    Args:
        grid: what to train.
        bank: whose taps it must name.
        taps: see `train_heads`.

    Raises:
        ConfigError: something in it is wrong; the message has every problem.
    """
    blocks = read_grid(grid) if isinstance(grid, str) else grid
    if not blocks:
        message = "the grid is empty: expected one head or more, as {'kind': 'softmax'}"
        raise ConfigError(message)
    specs: dict[str, HeadSpec] = {}
    problems: list[str] = []
    for block, tap in product(blocks, taps or [default_tap(bank)]):
        try:
            spec = _checked({"tap": tap, **block}, bank)
            specs[spec.key] = spec
        except FeatureBankError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(dict.fromkeys(problems)))
    return list(specs.values())


def default_tap(bank: Bank) -> str:
    """Returns the tap that a head is trained on unless told otherwise: "pooled" where there is one."""
    return "pooled" if "pooled" in bank.taps else bank.taps[0]


def _checked(block: Mapping[str, Any], bank: Bank) -> HeadSpec:
    given = dict(block)
    kind, tap = given.pop("kind", None), given.pop("tap")
    checks: list[Callable[[], None]] = [lambda: _check_tap(bank, tap), lambda: _check_head(kind, given)]
    problems = []
    for check in checks:
        try:
            check()
        except FeatureBankError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    return HeadSpec(str(kind), _plain(full_params(kind, given)), tap)


def _check_tap(bank: Bank, tap: Any) -> None:
    if not isinstance(tap, str):
        message = f"tap is {tap!r}: expected one of {', '.join(bank.taps)}"
        raise ConfigError(message)
    bank.tap_shape(tap)


def _check_head(kind: Any, given: Mapping[str, Any]) -> None:
    if not isinstance(kind, str):
        message = f"'kind' is {kind!r}: expected the name of a head, as kind = \"softmax\""
        raise ConfigError(message)
    head = make_head(kind, given)
    if hasattr(head, "check"):
        head.check()
    try:
        digest.canonical_json(_plain(given))
    except (TypeError, ValueError) as error:
        message = f"head '{kind}' has a parameter that a run's record cannot hold: {error}"
        raise ConfigError(message) from error


def _plain(value: Any) -> Any:
    """Returns a value in the types that come back from JSON: a run's id does not depend on how a number was made."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _seeds(spec: HeadSpec, seeds: Iterable[int]) -> list[int]:
    found = list(dict.fromkeys(seeds))
    return found if is_random(spec.kind) else found[:1]


def _train(bank: Bank, missing: Mapping[str, tuple[HeadSpec, int]], known: dict[str, Run], reporter: Reporter) -> None:
    with reporter.track("heads", len(missing), "runs") as advance:
        for tap in dict.fromkeys(spec.tap for spec, _ in missing.values()):
            ids = [run for run, (spec, _) in missing.items() if spec.tap == tap]
            data = TrainingData.of(bank, tap)
            if unseen := data.unseen(bank.classes):
                reporter.warn(f"no training image of class {', '.join(unseen)}: every head gets its images wrong")

            def record(position: int, fitted: Fitted, ids: list[str] = ids) -> None:
                run = _run(ids[position], *missing[ids[position]], fitted, bank)
                run.save()
                known[run.run] = run
                _keep_if_best(run, fitted, known, reporter)
                advance(1)

            fit_heads([missing[run] for run in ids], data, record)
    _keep_first(bank, known, reporter)


def _run(identity: str, spec: HeadSpec, seed: int, fitted: Fitted, bank: Bank) -> Run:
    return Run(
        run=identity, head=spec.kind, params=dict(spec.params), tap=spec.tap, seed=seed,
        seconds=round(fitted.seconds, 6), metrics=fitted.metrics, bank=bank.digest,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), together=fitted.together,
        history=fitted.history, failure=fitted.failure, notes=fitted.notes, directory=bank.path,
        right=fitted.right, parameters=fitted.parameters,
    )  # fmt: skip


def _keep_if_best(run: Run, fitted: Fitted, known: dict[str, Run], reporter: Reporter) -> None:
    """Saves the weights of a run that ranks first now, and forgets those of the one that did."""
    if not run.failure and ranked(known.values())[0].run == run.run:
        _keep(run, fitted, known, reporter)


def _keep_first(bank: Bank, known: dict[str, Run], reporter: Reporter) -> None:
    """Trains the run that ranks first once more, if another seed of the one that did has brought it there since."""
    first = ranked(known.values())[0]
    if first.failure or first.saved_path.is_file() or any(note.startswith(_NOT_KEPT) for note in first.notes):
        return

    def keep(_: int, fitted: Fitted) -> None:
        if not fitted.failure:
            _keep(first, fitted, known, reporter)

    fit_heads([(first.spec, first.seed)], TrainingData.of(bank, first.tap), keep)


def _keep(run: Run, fitted: Fitted, known: dict[str, Run], reporter: Reporter) -> None:
    try:
        save_head(fitted.head, run.saved_path)
        known[run.run] = replace(run, weights=digest.of_file(run.saved_path))
        known[run.run].save()
    except HeadError as error:
        note = f"{_NOT_KEPT}: {error}"
        known[run.run] = replace(run, notes=(*run.notes, note))
        known[run.run].save()
        reporter.warn(note)
    for path in run.saved_path.parent.glob(f"*{SUFFIX}"):
        other = known.get(path.stem)
        if path != run.saved_path and not (other and other.tested):
            path.unlink(missing_ok=True)

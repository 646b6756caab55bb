"""Public functions that train heads, and choose among their runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from featurebank.api.display import Shown, showing
from featurebank.api.run import Run
from featurebank.bank import Bank
from featurebank.grid import Grid, GridOptions, train_grid
from featurebank.heads.catalog import kind_of
from featurebank.metrics import ACCURACY, Metric
from featurebank.runs.leaderboard import Leaderboard
from featurebank.runs.ranking import latest_folds
from featurebank.runs.run import RunRecord
from featurebank.runs.selection import choose_run, open_test, ranked_runs
from featurebank.system.progress import Reporter

__all__ = ["evaluate_test", "leaderboard", "make_head", "select", "train_heads"]


def make_head(kind: str, params: Mapping[str, Any] | None = None, *, random_state: int = 0) -> Any:
    """Returns an unfitted head.

    Args:
        kind: a name of `HEADS`, or the import path of a scikit-learn classifier, as
            "sklearn.ensemble:ExtraTreesClassifier".
        params: its parameters, as far as they differ from the defaults, and perhaps `calibrate`.
        random_state: its seed.

    Raises:
        UnknownNameError: there is no such head or parameter.
        ConfigError: the import path leads to nothing, or to something that is no classifier.
    """
    return kind_of(kind).make(params or {}, random_state=random_state)


def train_heads(
    bank: Bank,
    grid: Grid = "default",
    *,
    seeds: int | Sequence[int] = 1,
    taps: Sequence[str] | None = None,
    search: Literal["all", "random", "halving"] = "all",
    runs: int | None = None,
    folds: int | Literal["given"] | None = None,
    repeats: int = 1,
    budget: float | None = None,
    retry_failed: bool = False,
    views: int | None = None,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> Leaderboard[Run]:
    """Trains the heads of a grid on a bank's training images and evaluates them on its validation images.

    Heads that were trained before are read from their records, even if another process trains on the same bank. The
    weights of the run that ranks first are saved. The test split is not used.

    Args:
        bank: the bank with the features.
        grid: the grid of heads.
        seeds: the number of seeds (0, 1, ...), or a list of seeds; deterministic heads are trained once.
        taps: the taps for heads that name none themselves; default "pooled", or the bank's first tap.
        search: "all" heads of the grid, a "random" sample, or "halving": successive halving over epochs, which stops
            worse heads early (their rows say where, and come after the others).
        runs: the size of the random sample, which is always the same.
        folds: the number of cross-validation folds of the training and validation images, or "given" for the
            dataset's own folds (folders fold1, fold2, ..., or a column `fold` of a table). The best head is also
            trained on the bank's own training images, and its weights are saved.
        repeats: the number of different divisions into folds.
        budget: time limit in seconds; heads that would exceed it by more than a tenth are skipped and reported.
        retry_failed: train heads that failed before again.
        views: the number of augmented views of each training image, besides the clean one, for heads with epochs;
            default: all views of the bank.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        The runs of this grid, best first; stopped and failed runs last. With folds, the run of the best head on the
        bank's own split comes first.

    Raises:
        ConfigError: the grid or an option is invalid; the message has every problem, and nothing was started.
        DatasetError: a split is empty, the training images have only one class, or a class has fewer images than folds.
        HeadError: every run failed, or the budget is too short for even the cheapest head.
    """
    options = GridOptions(
        seeds=seeds, taps=taps, search=search, runs=runs, folds=folds, repeats=repeats, budget=budget,
        retry_failed=retry_failed, views=views,
    )  # fmt: skip
    with showing(progress, reporter) as shown:
        trained = train_grid(bank, grid, options, shown)
    return Leaderboard(map(Run.of, trained), folds=latest_folds(trained))


def select(
    runs: Iterable[RunRecord], *, folds: int | None = None, one_se: bool = False, rule: str = "best",
    metric: Metric = ACCURACY,
) -> Run:  # fmt: skip
    """Returns the run to go on with, by validation alone; the test split plays no part in it.

    It is the best run of the first specification of the leaderboard. If that was evaluated on folds, it is the run of
    the same specification on the bank's own split, if there is one: it was trained on all of the training images.

    Args:
        runs: of one bank.
        folds: the protocol; default: that of the latest grid, 1 is the bank's own split.
        one_se: take the simplest specification within one standard error of the best: short for `rule="one-se"`.
        rule: which specification is taken, one of `featurebank.runs.ranking.RULES`.
        metric: what specifications are ranked by.

    Raises:
        HeadError: there is no run, none of this protocol, or all of them failed.
        UnknownNameError: there is no such rule.
    """
    return Run.of(choose_run(runs, folds=folds, rule="one-se" if one_se else rule, metric=metric))


def leaderboard(bank: Bank, *, folds: int | None = None, metric: Metric = ACCURACY) -> Leaderboard[Run]:
    """Returns the runs of a bank as it is now, best first; see `ranked` for the order.

    Args:
        bank: the bank.
        folds: the protocol of the runs; default: that of the latest grid, 1 is the bank's own split.
        metric: what they are ranked by.
    """
    board = ranked_runs(bank, folds=folds, metric=metric)
    return Leaderboard(map(Run.of, board), folds=board.folds, metric=board.metric)


def evaluate_test(bank: Bank, run: RunRecord, *, progress: Shown = None, reporter: Reporter | None = None) -> Run:
    """Opens the test split for a chosen run: scores it with intervals and records the result with its date.

    A run that was tested before, by this call or an earlier one, keeps its result; the split is not opened again.

    Args:
        bank: the bank that the run was trained on.
        run: what `select` returned.
        reporter: is warned where some of the images were opened for other runs before, whatever bank, split or name
            they had then; see `featurebank.runs.openings`.

    Returns:
        The run with `metrics["test"]`, which hold `opened_before`: how many times some of the images were opened for
        other runs before, and `images_opened_before`: how many of them.

    Raises:
        DatasetError: the bank has no test images.
        HeadError: the head failed, belongs to another bank, was trained on folds alone, or cannot be trained again
            where its weights were not kept; the model of a fine-tune is gone.
        DatasetError: of a fine-tune, test images have gone or changed.
        DiskFullError: no space is left for the record; nothing was opened.
    """
    with showing(progress, reporter) as shown:
        return Run.of(open_test(bank, run, reporter=shown))

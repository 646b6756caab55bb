"""The public function that writes a report."""

from __future__ import annotations

from featurebank.api.arguments.banks import BanksLike, as_banks
from featurebank.api.arguments.checks import checked
from featurebank.api.arguments.data import PathLike, as_path
from featurebank.api.display import Shown, showing
from featurebank.reporting.stage import ReportOptions, WrittenReport, run_report
from featurebank.system.progress import Reporter

__all__ = ["report"]


@checked
def report(
    banks: BanksLike | None = None, path: PathLike = "report.html", *, force: bool = False, metric: str = "accuracy",
    progress: Shown = None, reporter: Reporter | None = None,
) -> WrittenReport:  # fmt: skip
    """Writes one HTML page about a bank and its heads, or about several banks side by side.

    The page needs no network. It shows the data, the best head with its mistakes, the leaderboard with the curves of
    each head, a map of the validation images, doubtful labels and near duplicates, and what the bank saved. It never
    opens the test images: it shows a test result only if `evaluate_test` has recorded one.

    Args:
        banks: a bank, or its name or path, or a list of these; "all-of:DATASET" is all banks of a dataset; default:
            the bank that was used last.
        path: the HTML file.
        force: whether to replace an existing file.
        metric: what ranks the heads, as in `select`.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        The `path` of the page, its size in `bytes`, the `seconds` that it took, and the names of the `banks`.

    Raises:
        ConfigError: the file exists and `force` is not set, or cannot be written there.
        HeadError: a bank has no runs.
        DatasetError: a bank has no runs and no validation images.
        BankError: a bank cannot be read.
        DiskFullError: no space is left; an existing file is not changed.

    Example:
        >>> bank = fb.extract("photos", "my_networks:small")
        >>> _ = fb.train_heads(bank, ["logistic", "ridge"])
        >>> page = report(bank, "photos.html")
        >>> page.path.name, page.path.read_text(encoding="utf-8")[:15]
        ('photos.html', '<!doctype html>')
    """
    with showing(progress, reporter) as shown:
        opened = as_banks(banks, "report", reporter=shown)
        return run_report(opened, ReportOptions(output=str(as_path(path)), force=force, metric=metric), reporter=shown)

"""The public functions that say what to do about the data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from featurebank.advice.corrections import Relabelling, correct_bank
from featurebank.advice.result import Advice
from featurebank.advice.stage import AdviseOptions, run_advice
from featurebank.api.arguments.banks import BankLike, as_bank
from featurebank.api.arguments.checks import Accepts, checked
from featurebank.api.arguments.data import is_path
from featurebank.api.display import Shown, showing
from featurebank.api.images import ImagesLike, queries_of
from featurebank.system.progress import Reporter

__all__ = ["Advice", "Relabelling", "advise", "correct_labels"]

CorrectionsLike: TypeAlias = Annotated[
    Mapping[str, str] | str | os.PathLike[str],
    Accepts(
        lambda value: (
            is_path(value)
            or (isinstance(value, Mapping) and all(isinstance(one, str) for pair in value.items() for one in pair))
        )
    ),
    "the path of a CSV file, or a dictionary {id: class}",
]


@checked
def advise(
    bank: BankLike | None = None,
    *,
    tap: str | None = None,
    unlabelled: ImagesLike | None = None,
    label: int = 50,
    top: int | None = None,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> Advice:
    """Says what a bank shows about its data: wrong labels, outliers, mixed classes, what more images would bring.

    Everything is computed from the features, in seconds. The labels of test images are not examined.

    Args:
        bank: the bank, or its name or path; by default the one that was used last.
        tap: a tap of vectors; by default "pooled", or the first one.
        unlabelled: images of which to say which to label next, as for `similar`: those that the bank lacks are run
            through its network, and their features are kept.
        label: the number of groups of similar images to label next.
        top: list so many images with the least probable labels, doubted or not; by default only the doubted ones.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        The sentences that matter, and tables of the images in question. Notebooks show pictures; `to_frame` returns a
        table, `write_page` writes a page with pictures, and `write_csv` a list to correct for `correct_labels`.

    Raises:
        ConfigError: an option is wrong, or the bank has too few labelled images or no tap of vectors.
        DatasetError: there is no unlabelled image, or one has changed meanwhile.
        BankError: the bank cannot be read.

    Example:
        >>> advice = fb.advise(fb.extract(fb.load_dataset("photos"), "my_networks:small"))
        >>> advice.sentences[0]
        'No label among 30 images looks wrong.'
    """
    options = AdviseOptions(tap=tap, label=label, top=top)
    with showing(progress, reporter) as shown:
        known = as_bank(bank, "advise", reporter=shown)
        queries = None if unlabelled is None else queries_of(unlabelled, known)
        return run_advice(known, options, unlabelled=queries, reporter=shown)


@checked
def correct_labels(
    bank: BankLike,
    corrections: CorrectionsLike,
    *,
    dry_run: bool = False,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> Relabelling:
    """Gives images of a bank other labels; the features stay, and no file of the dataset is changed.

    The bank records the corrections: a later `extract` keeps them, as long as the dataset has the old labels. Runs that
    were trained with the old labels become stale.

    Args:
        bank: the bank, or its name or path.
        corrections: a CSV file with the columns path and label, such as `Advice.write_csv` writes and a person edits;
            or a dictionary of ids and classes. Images whose label stays the same are no changes.
        dry_run: whether to change nothing, and only say what would change.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        The changes, and the bank with its new labels.

    Raises:
        ConfigError: an image or a class is unknown, an image gets two labels, or the file is no such table; the message
            has one line for each problem.
        BankError: the bank cannot be read or written.

    Example:
        >>> bank = fb.extract(fb.load_dataset("photos"), "my_networks:small", cache="relabelled")
        >>> done = fb.correct_labels(bank, {"rose/1.jpg": "tulip"})
        >>> done, done.bank.classes[done.bank.labels()[done.bank.position("rose/1.jpg")]]
        (<Relabelling of 1 image: rose to tulip 1>, 'tulip')
    """
    with showing(progress, reporter) as shown:
        known = as_bank(bank, "advise", reporter=shown)
        return correct_bank(known, corrections, dry_run=dry_run, reporter=shown)

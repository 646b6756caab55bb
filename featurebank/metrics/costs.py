"""The costs of decisions, from a CSV file: a row for each true class, a column for each decision."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from featurebank.errors import ConfigError
from featurebank.metrics.images import ImageScores
from featurebank.metrics.metric import Metric, averaged
from featurebank.system import digest
from featurebank.system.files import read_regular
from featurebank.words import counted

_LISTED = 5
_DIGEST = re.compile("#([0-9a-f]{10})$")
"""The end of the name of a file whose costs must be those of this digest; see `with_digest`."""


def cost_metric(name: str, file: str, classes: Sequence[str]) -> Metric:
    """Returns the mean cost of the decisions with the least expected cost.

    Args:
        name: the name of the metric.
        file: a CSV file whose header and first column have the names of the classes. The cell in the row of a class
            and the column of another is the cost of deciding for the latter when the former is true. After the name
            may come the digest of its costs; see `with_digest`.
        classes: the names of the classes, in the order of the probabilities.

    Raises:
        ConfigError: no file is named, it cannot be read, does not fit the classes, or has other costs than those of the
            digest; the message has every problem.

    References:
        Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001.
    """
    path, expected = _parted(file)
    if not path:
        message = f"the metric is '{name}': expected a CSV file with a row for each true class, as cost:costs.csv"
        raise ConfigError(message)
    costs = read_costs(Path(path), classes)
    found = digest.of_array(costs)[:10]  # another file with the same costs is the same metric
    if expected not in {"", found}:
        message = (
            f"the costs in '{path}' have changed since they were used as '{name}': restore them, or leave out "
            f"'#{expected}'"
        )
        raise ConfigError(message)

    def per_image(images: ImageScores) -> np.ndarray:
        assert images.probabilities is not None
        return np.asarray(costs[images.labels, (images.probabilities @ costs).argmin(axis=1)])

    return averaged(
        f"cost:{path}", per_image, larger_is_better=False, needs_probabilities=True, needs_scores=True,
        key=f"cost:{found}", title="cost",
    )  # fmt: skip


def with_digest(file: str, classes: Sequence[str]) -> str:
    """Returns the name of a file of costs with the digest of the costs after it, such as "costs.csv#0123456789".

    Raises:
        ConfigError: see `cost_metric`.
    """
    digits = cost_metric(f"cost:{file}", file, classes).key.removeprefix("cost:")
    return f"{_parted(file)[0]}#{digits}"


def content_of(file: str) -> str:
    """Returns the digest after the name of a file of costs, and the name itself where there is none.

    Example:
        >>> content_of("costs.csv#0123456789"), content_of("costs.csv")
        ('0123456789', 'costs.csv')
    """
    return _parted(file)[1] or file


def _parted(file: str) -> tuple[str, str]:
    """Returns the name of a file of costs, and the digest after it, or ""."""
    found = _DIGEST.search(file)
    return (file[: found.start()], found[1]) if found else (file, "")


def read_costs(path: Path, classes: Sequence[str]) -> np.ndarray:
    """Reads a table of costs; returns (classes, classes) float64, rows are true classes and columns decisions.

    Raises:
        ConfigError: see `cost_metric`.
    """
    try:
        text = read_regular(path).decode("utf-8-sig")
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"the costs in '{path}' cannot be read ({reason}): expected a CSV file with a row for each true class"
        raise ConfigError(message) from error
    rows = [[cell.strip() for cell in row] for row in records if any(map(str.strip, row))]
    problems = list(_problems(rows, classes))
    if problems:
        message = f"the costs in '{path}' do not fit: {'; '.join(problems)}"
        raise ConfigError(message)
    place = {name: index for index, name in enumerate(classes)}
    costs = np.empty((len(classes), len(classes)))
    columns = [place[name] for name in rows[0][1:]]
    for row in rows[1:]:
        costs[place[row[0]], columns] = [float(cell) for cell in row[1:]]
    return costs


def _problems(rows: Sequence[Sequence[str]], classes: Sequence[str]) -> Iterator[str]:
    if len(rows) < 2:  # noqa: PLR2004 - a header and a row
        yield (
            f"it has {counted(len(rows), 'line')}: expected a header with the names of the classes, and a line for "
            "each of them"
        )
        return
    header, names = list(rows[0][1:]), [row[0] for row in rows[1:]]
    if len(header) != len(names) or any(len(row) != len(header) + 1 for row in rows[1:]):
        longest = max(len(row) - 1 for row in rows)
        yield f"it is no square: {counted(len(names), 'row')} of up to {counted(longest, 'cost')}"
    for what, found in (("column", header), ("row", names)):
        if missing := [name for name in classes if name not in found]:
            yield f"no {what} for {_listed(missing)}"
        if unknown := [name for name in found if name not in classes]:
            yield f"a {what} for {_listed(unknown)}, which {'is' if len(unknown) == 1 else 'are'} no class"
        if twice := [name for name, times in Counter(found).items() if times > 1]:
            yield f"more than one {what} for {_listed(twice)}"
    if wrong := [f"'{cell}' in the row of '{row[0]}'" for row in rows[1:] for cell in row[1:] if not _is_finite(cell)]:
        yield f"no number: {', '.join(wrong[:_LISTED])}{_rest(wrong)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:_LISTED]) + _rest(names)


def _rest(names: Sequence[str]) -> str:
    return f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""


def _is_finite(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False

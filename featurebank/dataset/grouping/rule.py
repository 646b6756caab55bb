"""Reads the group of each image: from a column of a table, or from a part of its path."""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from featurebank.dataset.core import Contents
from featurebank.dataset.grouping.bounded_search import search_all
from featurebank.dataset.grouping.components import GROUP, torn_groups
from featurebank.dataset.readers.metadata import strings
from featurebank.dataset.sources.rows import Problems
from featurebank.errors import ConfigError
from featurebank.system.alike import MOST_ALIKE, enumerate_some
from featurebank.words import counted

PATH = "path:"
"""The beginning of a rule on the path."""

_FORM = "as 'path:(?P<group>[^/]+)/[^/]+$' for the folder that an image is in"
_UNKNOWN = frozenset({"na", "n/a", "null", "none", "nan", "?", "-", "unknown"})
"""Values, in any case, that tables often have in place of a missing one."""


@dataclass(frozen=True)
class GroupRule:
    """What the groups are: a column, or a part of the path.

    Args:
        text: the rule as the user wrote it.
        pattern: finds the group in a path; None for a column of the name `text`.
    """

    text: str
    pattern: re.Pattern[str] | None = None

    @classmethod
    def parse(cls, text: str) -> GroupRule:
        """Parses "COLUMN" or "path:REGEX".

        Raises:
            ConfigError: the regular expression is wrong, or has no group named "group".

        Example:
            >>> GroupRule.parse("patient").pattern is None
            True
            >>> GroupRule.parse("path:(?P<group>[^/]+)/[^/]+$").groups_of(["ant/p7/1.png"])
            ['p7']
        """
        if not text.startswith(PATH):
            if text.strip():
                return cls(text.strip())
            message = f"groups is {text!r}: expected the name of a column, or a rule on the path, {_FORM}"
            raise ConfigError(message)
        try:
            pattern = re.compile(text.removeprefix(PATH))
        except (re.error, RecursionError, OverflowError) as error:
            what = f"groups is '{text}': the part after '{PATH}' is not a regular expression ({error})"
            message = f"{what}: expected one, {_FORM}"
            raise ConfigError(message) from error
        if GROUP not in pattern.groupindex:
            what = f"groups is '{text}': the regular expression has no part named '{GROUP}'"
            message = f"{what}: put (?P<{GROUP}>...) around it, {_FORM}"
            raise ConfigError(message)
        return cls(text, pattern)

    def groups_of(self, ids: Sequence[str]) -> list[str]:
        """Returns the part of each path that is the group; "" for a path that does not match.

        Raises:
            ConfigError: the regular expression takes too long.
        """
        assert self.pattern, "only a rule on the path has one"
        return search_all(self.pattern, GROUP, ids)


def with_groups(contents: Contents, rule: GroupRule, *, several: bool = True) -> Contents:
    """Returns a dataset whose images have groups.

    Args:
        contents: the images, with their columns.
        rule: where the groups are.
        several: whether to expect more than one group.

    Raises:
        DatasetError: there is no such column, an image has no group, or all are of one group; all problems at once.
        ConfigError: a rule on the path takes too long.
    """
    problems = Problems(f"the groups '{rule.text}' of '{contents.spec}'")
    names = rule.groups_of(contents.ids) if rule.pattern else _column(contents, rule.text, problems)
    names = [" ".join(name.split()) for name in names]
    missing = [place for place, name in enumerate(names) if not name]
    if missing:
        problems.add(_missing(rule, [contents.ids[place] for place in missing]))
    if several and len(set(names) - {""}) == 1:
        problems.add(f"all images are of one group, '{max(names)}': expected several, because each stands on one side")
    groups = strings(names)
    if contents.predefined is not None:
        filled = groups != ""
        _add_torn(groups[filled], contents.predefined[filled], problems)
    problems.check()
    notes = (*contents.notes, *_single(names), *_looks_missing(names), *_look_alikes(names))
    return dataclasses.replace(contents, groups=groups, group_rule=rule.text, notes=notes)


def check_apart(contents: Contents, test: Contents) -> None:
    """Checks that no group has images both in a dataset and in the test set of its own that it is given.

    Raises:
        DatasetError: there is such a group.
    """
    if contents.groups is None or test.groups is None:
        return
    if len(both := np.intersect1d(contents.groups, test.groups)):
        stand = "1 group stands" if len(both) == 1 else f"{len(both)} groups stand"
        Problems(f"the groups '{contents.group_rule}' of '{contents.spec}'").stop(
            f"{stand} in the test images '{test.spec}', too, {enumerate_some(both.tolist())}: leave the images of "
            "these groups out of one of the two, or use other groups"
        )


def _add_torn(groups: np.ndarray, splits: np.ndarray, problems: Problems) -> None:
    if torn := torn_groups(groups, splits):
        stand = "1 group stands" if len(torn) == 1 else f"{len(torn)} groups stand"
        problems.add(
            f"{stand} in several of the given splits, {shown_torn(torn)}: give each group one split, leave the splits "
            "out, or use other groups"
        )


def shown_torn(torn: dict[str, list[str]]) -> str:
    """Returns the first torn groups with their splits, as "'p1' (train and test)"."""
    shown = [f"'{name}' ({' and '.join(splits)})" for name, splits in list(torn.items())[:MOST_ALIKE]]
    return ", ".join(shown) + (f" and {more} more" if (more := len(torn) - len(shown)) else "")


def _column(contents: Contents, name: str, problems: Problems) -> list[str]:
    """Returns a column as texts; "" where a value is missing."""
    column = contents.metadata.get(name)
    if column is None and contents.further is not None:
        column = contents.further.read(name)
    if column is None:
        others = [*contents.metadata, *(contents.further.names if contents.further else ())]
        known = f"found {', '.join(others)}" if others else "it has no further columns"
        problems.stop(f"there is no column '{name}' ({known}): expected one, or a rule on the path, {_FORM}")
    return [_name(value) for value in column.tolist()]


def _name(value: float | str) -> str:
    """Returns a value as a text; "" for nan. Whole numbers are floats in a column that has missing values."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.0f}" if value.is_integer() else str(value)
    return str(value)


def _missing(rule: GroupRule, ids: Sequence[str]) -> str:
    which = f"the first is '{ids[0]}'" if len(ids) > 1 else f"'{ids[0]}'"
    if rule.pattern:
        match = "does not match" if len(ids) == 1 else "do not match"
        return f"{counted(len(ids), 'path')} {match}, {which}: expected a group in each, {_FORM}"
    have = "has no value" if len(ids) == 1 else "have no value"
    return f"{counted(len(ids), 'image')} {have}, {which}: enter the group of each image"


def _single(names: Sequence[str]) -> Iterator[str]:
    if len(set(names)) == len(names):
        yield "every image is a group of its own, so the groups change nothing: use a column that images share"


def _looks_missing(names: Sequence[str]) -> Iterator[str]:
    """Yields a line for each group whose name usually means that the group is not known."""
    for name in sorted(set(names)):
        if name.casefold() in _UNKNOWN:
            yield (
                f"{counted(names.count(name), 'image')} of the group '{name}' count as one group: if that means a "
                "missing value, enter the groups of these images"
            )


def _look_alikes(names: Sequence[str]) -> Iterator[str]:
    """Yields a line if names of groups differ only in their case or Unicode form."""
    first: dict[str, str] = {}
    pairs = []
    for name in sorted(set(names)):
        other = first.setdefault(unicodedata.normalize("NFKC", name).casefold(), name)
        if other != name:
            pairs.append(f"'{other}' and '{name}'")
    if pairs:
        more = f" and {len(pairs) - MOST_ALIKE} more" if len(pairs) > MOST_ALIKE else ""
        yield (
            f"groups differ only in capitals or Unicode form, {', '.join(pairs[:MOST_ALIKE])}{more}: if they are the "
            "same group, write them alike"
        )

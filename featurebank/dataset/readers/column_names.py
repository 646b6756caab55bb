"""Finds the columns of a table that hold paths, labels, splits and weights, whatever their names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from featurebank.dataset.sources.rows import Problems
from featurebank.words import counted

NEEDED = ("path", "label")
TEXTS = (*NEEDED, "split")
"""The columns that hold texts."""
KNOWN = (*TEXTS, "weight")

ALIASES = {
    "path": {
        "path", "paths", "file", "files", "filename", "file_name", "filepath", "file_path", "image", "image_path",
        "image_name", "image_file", "image_id", "imagepath", "img", "img_path", "img_name", "img_file", "photo",
    },
    "label": {
        "label", "labels", "class", "classes", "class_name", "classname", "class_label", "category", "target",
    },
    "split": {"split", "splits", "subset", "partition"},
    "weight": {"weight", "weights", "sample_weight", "sample_weights", "image_weight"},
}  # fmt: skip
"""Usual names of the columns, in any case; blanks and hyphens count as underscores."""

_EXPECTED = (
    "expected the columns path,label[,split][,weight] and any others, or their names in --columns path=A,label=B"
)


def choose_columns(
    names: Sequence[str], renames: Mapping[str, str], problems: Problems
) -> tuple[dict[str, str], list[str]]:
    """Finds the columns of a table.

    Args:
        names: all columns.
        renames: the user's names for some of `KNOWN`.
        problems: collects the problems of the table.

    Returns:
        The name of each existing column of `KNOWN`, by its role, and a note about those with other names.

    Raises:
        DatasetError: a column is missing or occurs several times, or several columns could be meant.
    """
    if not any(names):
        problems.stop(f"is empty: {_EXPECTED}")
    for name in sorted({name for name in names if name and list(names).count(name) > 1}):
        problems.add(f"has the column '{name}' more than once")
    roles: dict[str, str] = {}
    for role in KNOWN:
        if (column := renames.get(role)) is not None and column not in names:
            problems.add(f"has no column '{column}', which --columns names for {role} (found {', '.join(names)})")
        elif column := column or _by_name(role, names, set(roles.values()) | set(renames.values()), problems):
            roles[role] = column
    problems.check()
    guessed = [f"{role} is read from the column '{column}'" for role, column in roles.items() if column != role]
    renamed = guessed and set(roles.items()) - set(renames.items()) - {(role, role) for role in KNOWN}
    return roles, [", ".join(guessed)] if renamed else []


def _by_name(role: str, names: Sequence[str], used: set[str], problems: Problems) -> str | None:
    """Returns the column with the name of a role, or with one of its usual alternatives."""
    free = [name for name in names if name and name not in used]
    if role in free:
        return role
    alike = [name for name in free if "_".join(name.casefold().replace("-", " ").split()) in ALIASES[role]]
    if len(alike) == 1:
        return alike[0]
    if alike:
        choices = " or ".join(f"{role}={name}" for name in alike)
        problems.add(
            f"has {counted(len(alike), 'column')} that may be the {role}, {', '.join(alike)}: use --columns {choices}"
        )
    elif role in NEEDED:
        near = difflib.get_close_matches(role, {name.lower() for name in free}, n=1, cutoff=0.5)
        meant = next((name for name in free if near and name.lower() == near[0]), None)
        advice = f"did you mean '{meant}'?" if meant else f"found {', '.join(names)}"
        problems.add(f"has no column '{role}' ({advice}): {_EXPECTED}")
    return None

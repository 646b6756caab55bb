"""The grammar of joined taps.

PART+PART...        the features of several parts side by side, as "pooled+block6d_add:avg"
TAP                 a tap of the bank itself
BANK:TAP            a tap of another bank of the same images; BANK is its name or its backbone, as "resnet50:pooled"
columns:A,B         columns of metadata, as "columns:age,site"; with nothing beside them, they are a joined tap, too

A text that is a tap of the bank is that tap and nothing else: "vit:cls" is a layer of the bank's own network if the
bank has this tap, and otherwise the tap "cls" of the bank "vit". The full name of a bank is never the name of a layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

JOIN, COLUMNS = "+", "columns:"
_FIRST = "pooled"


def is_joined(tap: object, taps: Collection[str]) -> bool:
    """Returns whether a text is a joined tap.

    Args:
        tap: the text; anything else is no joined tap.
        taps: the taps of the bank.

    Example:
        >>> is_joined("pooled+cls", ["pooled", "cls"]), is_joined("a+b", ["a+b"]), is_joined("columns:age", ["pooled"])
        (True, False, True)
    """
    return isinstance(tap, str) and tap not in taps and (JOIN in tap or tap.startswith(COLUMNS))


def split_parts(tap: str) -> tuple[list[str], list[str]]:
    """Divides a joined tap into its taps and its columns.

    Example:
        >>> split_parts("pooled + columns:age, site + vit:cls")
        (['pooled', 'vit:cls'], ['age', 'site'])
    """
    parts = [part.strip() for part in tap.split(JOIN)]
    columns = [part.removeprefix(COLUMNS).split(",") for part in parts if part.startswith(COLUMNS)]
    taps = [part for part in parts if not part.startswith(COLUMNS)]
    return taps, [name.strip() for names in columns for name in names]


def canonical_text(own: Iterable[str], others: Iterable[str], columns: Iterable[str]) -> str:
    """Returns the one text for parts in any order: own taps, those of other banks, then columns.

    Example:
        >>> canonical_text(["map:avg", "pooled"], ["vit:cls"], ["site", "age"])
        'pooled+map:avg+vit:cls+columns:age,site'
    """
    taps = [*sorted(own, key=lambda tap: (tap != _FIRST, tap)), *sorted(others)]
    names = ",".join(sorted(columns))
    return JOIN.join([*taps, *([COLUMNS + names] if names else [])])

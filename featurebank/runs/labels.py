"""Short names for the rows of a table, which show only the differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from featurebank.fitting.spec import SAMPLE, VIEWS, HeadSpec, with_words


def short_names(specs: Sequence[HeadSpec]) -> tuple[list[str], dict[str, list[str]]]:
    """Returns a name for each specification of a table.

    A name contains the parameters that differ from the head's defaults, except those that are equal in all rows of the
    kind. If a kind has a single row, its name omits parameters that are equal in all rows that have them. A row with a
    name of its own has that name, with parameters only if several rows share it.

    Args:
        specs: the rows.

    Returns:
        The names, and the parameters that they omit: for each, such as "max_images=5000", the kinds of its rows.
    """
    groups: dict[str, list[int]] = {}
    for position, spec in enumerate(specs):
        groups.setdefault(spec.name or spec.kind, []).append(position)
    words = [spec.words() for spec in specs]
    everywhere = _shared(words)
    names = [""] * len(specs)
    left_out: dict[str, list[str]] = {}
    for group, members in groups.items():
        if len(members) > 1:
            alike = {word for word in words[members[0]] if len({_value(specs[i], word) for i in members}) == 1}
        else:
            alike = everywhere if not specs[members[0]].name else set(words[members[0]])
        for i in members:
            names[i] = with_words(group, (text for word, text in words[i].items() if word not in alike))
        if not specs[members[0]].name:
            for word in alike & words[members[0]].keys():
                left_out.setdefault(words[members[0]][word], []).append(group)
    return names, dict(sorted(left_out.items()))


def _shared(words: Sequence[Mapping[str, str]]) -> set[str]:
    """Returns the names of the parameters that several rows have, all with the same text."""
    counts = Counter(word for row in words for word in row)
    texts = {word: {row[word] for row in words if word in row} for word in counts}
    return {word for word, count in counts.items() if count > 1 and len(texts[word]) == 1}


def _value(spec: HeadSpec, word: str) -> str:
    return repr({VIEWS: spec.views, SAMPLE: spec.sample}.get(word, spec.params.get(word)))

"""Names for the rows of a table: what differs between them, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from featurebank.fitting.spec import VIEWS, HeadSpec, with_words


def short_names(specs: Sequence[HeadSpec]) -> tuple[list[str], dict[str, list[str]]]:
    """Returns a name for each specification of a table.

    A name has the parameters in which a specification differs from its head's defaults, but for those in which all
    rows of its kind agree. Of a single row of a kind, those are left out in which all rows agree that have them. What
    a person has named is called so, with parameters only where several rows have that name.

    Args:
        specs: the rows.

    Returns:
        The names, and what they leave out: for each parameter, as "max_images=5000", the kinds of the rows.
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
    """Returns the names of the words that several rows have, all with the same text."""
    counts = Counter(word for row in words for word in row)
    texts = {word: {row[word] for row in words if word in row} for word in counts}
    return {word for word, count in counts.items() if count > 1 and len(texts[word]) == 1}


def _value(spec: HeadSpec, word: str) -> str:
    return repr(spec.views if word == VIEWS else spec.params.get(word))

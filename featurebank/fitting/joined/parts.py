"""Finds the parts of a joined tap: in the bank itself, in other banks of the same images, and in the metadata."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.catalog import UNLABELLED
from featurebank.bank.index import Finder
from featurebank.bank.manifest import MANIFEST, Manifest, load_manifest
from featurebank.bank.vectors import positions_in
from featurebank.errors import BankError, ConfigError, FeatureBankError, unknown_name
from featurebank.fitting.joined.text import canonical_text, split_parts
from featurebank.heads.joined.encoding import ColumnEncoding, is_number, missing_values
from featurebank.system import digest
from featurebank.system.alike import enumerate_some
from featurebank.system.backing.directories import find
from featurebank.words import counted, one_line, problem_lines

_SINGLE = 0.5
"""The largest share of the images that may have a category of their own, as names of files would."""


@dataclass(frozen=True, eq=False)
class TapPart:
    """A tap of vectors of the bank itself, or of another bank of the same images."""

    text: str
    """How the joined tap names it."""
    bank: Bank
    tap: str
    places: np.ndarray | None = None
    """(n,) int64, the position in `bank.ids()` of each image of the bank that is trained on; None for that bank."""

    @property
    def width(self) -> int:
        """The number of features."""
        return self.bank.tap_shape(self.tap)[0]

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Translates positions of images in the bank that is trained on."""
        return positions if self.places is None else self.places[positions]

    def identity(self) -> dict[str, Any]:
        """Returns JSON values that identify the features."""
        other = {} if self.places is None else {"bank": self.bank.name, "key": self.bank.manifest.key}
        return {"tap": self.tap, "stored": self.bank.tap_dtype(self.tap), **other}


@dataclass(frozen=True, eq=False)
class JoinedTap:
    """The parts of a joined tap."""

    bank: Bank
    """The bank whose images, labels and splits count."""
    text: str
    """The canonical text."""
    parts: tuple[TapPart, ...]
    columns: tuple[str, ...]

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """The columns of all images, (n,) each."""
        metadata = self.bank.metadata()
        return {name: metadata[name] for name in self.columns}

    @cached_property
    def training_encoding(self) -> ColumnEncoding | None:
        """The encoding of the columns from all training images of the bank; see `encoding`."""
        return self.encoding(positions_in(self.bank, "train"))

    def encoding(self, positions: np.ndarray) -> ColumnEncoding | None:
        """Returns the encoding of the columns, from some images; None if there are no columns."""
        if not self.columns:
            return None
        return ColumnEncoding.of({name: column[positions] for name, column in self.values.items()})

    @property
    def is_of_one_network(self) -> bool:
        """Whether all parts are taps of the bank itself, so that one model can compute them."""
        return not self.columns and all(part.places is None for part in self.parts)

    @property
    def sources(self) -> str:
        """What computes the features, in words: networks, and columns of metadata."""
        banks = {part.bank.path: str(part.bank.recipe["backbone"]) for part in self.parts}
        columns = [f"the columns {', '.join(self.columns)}"] if self.columns else []
        return " and ".join([*banks.values(), *columns])

    def identity(self) -> dict[str, Any]:
        """Returns what a run on these features depends on beside its bank, as JSON values.

        The banks are identified by their recipes: images that another bank has besides do not matter.
        """
        columns = {name: _digest(column) for name, column in self.values.items()}
        return {"parts": [part.identity() for part in self.parts], "columns": columns}

    def problems_with_views(self, views: int) -> Iterator[str]:
        """Yields a line for each other bank that lacks the augmented views of the images, or has other ones."""
        for part in self.parts:
            if views and part.places is not None:
                own, other = (bank.recipe.get("views") for bank in (self.bank, part.bank))
                if part.bank.views < views or own != other:
                    has = counted(part.bank.views, "view") if own == other else "other views"
                    yield (
                        f"part '{part.text}' of tap '{self.text}': '{part.bank.name}' has {has}, but heads with epochs "
                        f"are trained on {counted(views, 'view')}: train with --views 0, or extract the same views"
                    )


def resolve(bank: Bank, tap: str, recorded: Mapping[str, Any] | None = None) -> JoinedTap:
    """Finds the parts of a joined tap.

    Args:
        bank: the bank that is trained on.
        tap: the text.
        recorded: `identity` of a run, which distinguishes banks of one backbone.

    Raises:
        ConfigError: a part cannot be used; the message has all problems, a line each.
    """
    parts = recorded["parts"] if recorded else []
    return _resolved(bank, tap, tuple(sorted(part["key"] for part in parts if "key" in part)))


@functools.lru_cache(maxsize=64)
def _resolved(bank: Bank, tap: str, keys: tuple[str, ...]) -> JoinedTap:
    """Finds the parts once for an open bank: a grid asks for each of its heads."""
    return _Resolver(bank, set(keys)).resolve(tap)


class _Resolver:
    """Finds the parts of one joined tap, and collects the problems.

    Args:
        bank: the bank that is trained on.
        keys: the keys of the other banks, if they are known.
    """

    def __init__(self, bank: Bank, keys: set[str]) -> None:
        self._bank, self._keys = bank, keys
        self._problems: list[str] = []

    def resolve(self, tap: str) -> JoinedTap:
        """Returns the joined tap; raises ConfigError with all problems, a line each."""
        taps, columns = split_parts(tap)
        parts = [part for text in taps if (part := self._tried(text)) is not None]
        unique = {(part.bank.path, part.tap): part for part in parts}
        self._problems += [f"'{text}' occurs twice" for text in _repeated([*taps, *columns])]
        metadata = self._bank.metadata()
        for name in dict.fromkeys(columns):
            self._problems += self._wrong_column(name, metadata)
        if self._problems:
            raise ConfigError(problem_lines(self._problems, f"tap '{tap}': "))
        own = {part.tap for part in unique.values() if part.places is None}
        text = canonical_text(own, [part.text for part in unique.values() if part.places is not None], columns)
        ordered = sorted(unique.values(), key=lambda part: split_parts(text)[0].index(part.text))
        return JoinedTap(self._bank, text, tuple(ordered), tuple(sorted(columns)))

    def _tried(self, text: str) -> TapPart | None:
        try:
            part = self._tap(text)
            if len(shape := part.bank.tap_shape(part.tap)) != 1:
                averaged = part.tap.replace(":map", "") + ":avg"
                message = (
                    f"'{text}' has rows of {' x '.join(map(str, shape))}, and joined taps take vectors: use "
                    f"'{averaged}', which 'featurebank extract --tap {averaged}' adds"
                )
                raise ConfigError(message)
        except FeatureBankError as error:
            self._problems.append(one_line(error))
            return None
        return part

    def _tap(self, text: str) -> TapPart:
        """Returns a part; raises ConfigError or UnknownNameError if there is none."""
        bank = self._bank
        if not text:
            message = "a part is empty: expected taps joined by '+', as pooled+resnet50:pooled"
            raise ConfigError(message)
        if text in bank.taps:
            return TapPart(text, bank, text)
        others = _neighbours(bank)
        for name, tap in _names_and_taps(text):
            if name == bank.name or (name == bank.recipe["backbone"] and tap in bank.taps):
                bank.tap_shape(tap)
                return TapPart(tap, bank, tap)
            if name in others:
                return self._of_another(text, tap, {name: others[name]})
            named = {place: other for place, other in others.items() if other.recipe["backbone"] == name}
            if named:
                return self._of_another(text, tap, named)
        known = [*bank.taps, *sorted({f"{other.recipe['backbone']}:{other.taps[0]}" for other in others.values()})]
        hint = f"'featurebank extract --tap {text}' adds it, or name a tap of another bank of these images"
        raise unknown_name("tap", text, known, hint)

    def _of_another(self, text: str, tap: str, named: Mapping[str, Manifest]) -> TapPart:
        """Returns a tap of the one bank among those of a name that has all images."""
        found, lacking = [], []
        usable = [place for place, manifest in named.items() if not self._keys or manifest.key in self._keys]
        if not usable:
            message = (
                f"'{text}': the bank that the run was trained with is not in the cache any more, and "
                f"{enumerate_some(list(named))} has other features: extract that one again, or train the head again"
            )
            raise ConfigError(message)
        for place in usable:
            other = Bank(self._bank.path.parent / place)
            places = Finder(other.digests()).find(self._bank.digests())
            missing = self._bank.ids_at(np.flatnonzero(places < 0))
            if missing:
                lacking.append((len(missing), place, missing))
            else:
                found.append((other, places))
        if len(found) > 1:
            names = " or ".join(f"'{other.name}:{tap}'" for other, _ in found)
            message = f"'{text}' may mean {counted(len(found), 'bank')}: write {names}"
            raise ConfigError(message)
        if not found:
            count, place, missing = min(lacking)
            message = (
                f"'{text}': bank '{place}' lacks {count} of the {counted(len(self._bank), 'image')} of "
                f"'{self._bank.name}' ({enumerate_some(missing)}): joined taps need the same images in both, so "
                "extract the same dataset with both backbones"
            )
            raise ConfigError(message)
        other, places = found[0]
        other.tap_shape(tap)
        return TapPart(text, other, tap, places)

    def _wrong_column(self, name: str, metadata: Mapping[str, np.ndarray]) -> Iterator[str]:
        """Yields what is wrong with a column."""
        bank = self._bank
        if not name:
            yield "a column has no name: expected names with commas, as columns:age,site"
            return
        if name not in metadata:
            hint = f"the table of '{bank.name}' has no further columns" if not metadata else ""
            yield str(unknown_name("column", name, metadata, hint))
            return
        column = metadata[name]
        if missing := missing_values(column):
            yield (
                f"column '{name}' has no value for {len(missing)} of {counted(len(bank), 'image')} "
                f"({enumerate_some(bank.ids_at(missing))}): fill it in and extract again, or leave the column out"
            )
        elif not is_number(column) and (count := len(set(column.tolist()))) > max(2, _SINGLE * len(column)):
            yield (
                f"column '{name}' has {counted(count, 'category', 'categories')} for {counted(len(column), 'image')}: "
                "it names images and says nothing about new ones; leave it out"
            )


def has_same_columns(bank: Bank, recorded: Mapping[str, Any]) -> bool:
    """Returns whether the columns of a run's `identity` are still those of the bank."""
    metadata = bank.metadata() if recorded["columns"] else {}
    return all(name in metadata and _digest(metadata[name]) == known for name, known in recorded["columns"].items())


def _digest(column: np.ndarray) -> str:
    return digest.of_array(np.ascontiguousarray(column))


def _repeated(texts: list[str]) -> list[str]:
    return sorted({text for text in texts if text and texts.count(text) > 1})


def _names_and_taps(text: str) -> Iterator[tuple[str, str]]:
    """Yields the ways to divide BANK:TAP; names of networks of a library or a file may have colons, too."""
    words = text.split(":")
    for end in range(1, len(words)):
        yield ".".join(words[:end]), ":".join(words[end:])


def _neighbours(bank: Bank) -> dict[str, Manifest]:
    """Returns the manifests of the other banks of a bank's cache that hold labelled images, by name."""
    manifests = {}
    for place in find(bank.path.parent, f"*/{MANIFEST}"):
        if place.parent != bank.path:
            with contextlib.suppress(BankError):
                manifest = load_manifest(place.parent)
                unlabelled = manifest.dataset["name"].startswith(UNLABELLED)
                if manifest.items is not None and manifest.taps and not unlabelled:
                    manifests[place.parent.name] = manifest
    return manifests

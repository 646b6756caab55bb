"""What is to be trained: a kind of head, its parameters, and the features that it is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from featurebank.heads.catalog import kind_of
from featurebank.heads.kinds import HeadKind, is_calibrated, uncalibrated
from featurebank.system import digest
from featurebank.words import counted

VIEWS = "number of views"
"""How `HeadSpec.words` calls what is no parameter."""
_NOT_SHOWN = ("max_iter",)
"""Parameters that say how long a head may take, not what it is."""


@dataclass(frozen=True)
class HeadSpec:
    """What is to be trained, but for the seed."""

    kind: str
    """A name of the heads' catalog, or an import path; `head_kind` is the kind itself."""
    params: Mapping[str, Any]
    tap: str = "pooled"
    views: int | None = 0
    """How many augmented views of each training image it is trained on, beside the clean one; heads without epochs see
    none. None of a run of an earlier version, whose record does not say it."""
    name: str = field(default="", compare=False)
    """What a person calls it; no part of what it is."""

    @cached_property
    def head_kind(self) -> HeadKind:
        """The kind of the head, which answers all questions about it."""
        return kind_of(self.kind)

    @property
    def key(self) -> str:
        """The canonical text of the specification: equal for runs that differ in their seed alone."""
        views = [] if self.views == 0 else [self.views]
        return digest.canonical_json([self.kind, dict(self.params), self.tap, *views])

    @property
    def epochs(self) -> int:
        """How many epochs it is trained for at most; 0 for heads without epochs."""
        found = self.params.get("epochs")
        return found if isinstance(found, int) else 0

    @property
    def revision(self) -> int:
        """By which rule it is fitted; see `HeadKind.revision`."""
        return self.head_kind.revision(self.params)

    @property
    def is_calibrated(self) -> bool:
        """Whether its probabilities are to be calibrated."""
        return is_calibrated(self.params)

    def uncalibrated(self) -> HeadSpec:
        """Returns the head that is trained first where this one is to be calibrated."""
        return self.with_params(uncalibrated(self.params))

    def with_params(self, params: Mapping[str, Any]) -> HeadSpec:
        """Returns the same head with other parameters."""
        return replace(self, params=params)

    def make(self, seed: int) -> Any:
        """Returns the head, unfitted; raises what `make_head` raises."""
        return self.head_kind.make(self.params, random_state=seed)

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int) -> float:
        """Returns about how many nanoseconds the training takes; see `Head.cost`."""
        found: float = self._plain_head.cost(images, shape, classes, validation_images)
        return found

    @cached_property
    def _plain_head(self) -> Any:
        """An unfitted head of it, to be asked."""
        return self.uncalibrated().make(0)

    def words(self) -> dict[str, str]:
        """Returns in words each parameter that differs from the head's default, and the views; by name."""
        changed = self.head_kind.changed_params(self.params)
        found = {name: f"{name}={_short(value)}" for name, value in sorted(changed.items()) if name not in _NOT_SHOWN}
        if self.views != 0:
            found[VIEWS] = "views unknown" if self.views is None else counted(self.views, "view")
        return found

    def __str__(self) -> str:
        start = f"{self.name}: " if self.name else ""
        return start + with_words(self.kind, self.words().values())


def with_words(name: str, words: Iterable[str]) -> str:
    """Returns a name with words in brackets after it; without brackets where there are none."""
    text = ", ".join(words)
    return f"{name}({text})" if text else name


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace(" ", "")

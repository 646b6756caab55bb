"""The specification of a head: its kind, its parameters, and the features that it is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from featurebank.heads.catalog import kind_of
from featurebank.heads.kinds import HeadKind
from featurebank.system import digest
from featurebank.training.class_weights import CLASS_WEIGHT, named_weights
from featurebank.training.common_parameters import ignores_weights, is_calibrated, uncalibrated
from featurebank.training.monitors import params_identity
from featurebank.words import counted

VIEWS, SAMPLE = "number of views", "number of training images"
"""The keys of the number of views, and of `HeadSpec.sample`, in `HeadSpec.words`: they are no parameters."""
_NOT_SHOWN = ("max_iter",)
"""Parameters that limit the computing time and do not define the head."""


@dataclass(frozen=True)
class HeadSpec:
    """The specification of a head, without the seed."""

    kind: str
    """A name in the catalog of heads, or an import path; `head_kind` is the object."""
    params: Mapping[str, Any]
    tap: str = "pooled"
    views: int | None = 0
    """The number of augmented views of each training image besides the clean one; 0 for heads without epochs. None for
    a run of an earlier version that did not record it."""
    name: str = field(default="", compare=False)
    """A name that the user chose; not part of the identity."""
    sample: int | None = None
    """The number of training images, the first in the order of the digests of their contents; None for all."""
    classes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """The names of the classes, which are shown instead of their numbers; not part of the identity."""

    @cached_property
    def head_kind(self) -> HeadKind:
        """The kind of the head, which answers all questions about it."""
        return kind_of(self.kind)

    @property
    def key(self) -> str:
        """The canonical text of the specification: equal for runs that differ only in their seed."""
        views = [] if self.views == 0 else [self.views]
        sample = [] if self.sample is None else [{"sample": self.sample}]
        return digest.canonical_json([self.kind, params_identity(self.params), self.tap, *views, *sample])

    @property
    def epochs(self) -> int:
        """The maximum number of epochs; 0 for heads without epochs."""
        epochs = self.params.get("epochs")
        return epochs if isinstance(epochs, int) else 0

    def revision(self, classes: int) -> int:
        """The revision of the fitting algorithm; see `HeadKind.revision`."""
        return self.head_kind.revision(self.params, classes)

    @property
    def is_calibrated(self) -> bool:
        """Whether its probabilities are calibrated."""
        return is_calibrated(self.params)

    @property
    def ignores_weights(self) -> bool:
        """Whether all training images count alike, although the bank has weights."""
        return ignores_weights(self.params)

    def uncalibrated(self) -> HeadSpec:
        """Returns the specification without calibration."""
        return self.with_params(uncalibrated(self.params))

    def with_params(self, params: Mapping[str, Any]) -> HeadSpec:
        """Returns the specification with other parameters."""
        return replace(self, params=params)

    def make(self, seed: int) -> Any:
        """Returns an unfitted head; raises the errors of `make_head`."""
        return self.head_kind.make(self.params, random_state=seed)

    @property
    def gives_scores(self) -> bool:
        """Whether the head has probabilities or scores; see `Head.gives_scores`."""
        return bool(self._plain_head.gives_scores)

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int) -> float:
        """Returns an estimate of the training time in nanoseconds; see `Head.cost`."""
        nanoseconds: float = self._plain_head.cost(images, shape, classes, validation_images)
        return nanoseconds

    @cached_property
    def _plain_head(self) -> Any:
        """An unfitted head without calibration, to query its properties."""
        return self.uncalibrated().make(0)

    @property
    def shown_params(self) -> dict[str, Any]:
        """The parameters as they are shown: classes have names, where `params` has their numbers."""
        if isinstance(weights := self.params.get(CLASS_WEIGHT), Mapping):
            return {**self.params, CLASS_WEIGHT: named_weights(weights, self.classes)}
        return dict(self.params)

    def words(self) -> dict[str, str]:
        """Returns a text for each parameter that differs from the head's default, for the views and the sample."""
        changed = self.head_kind.changed_params(self.shown_params)
        words = {
            name: f"{name}={short_text(value)}" for name, value in sorted(changed.items()) if name not in _NOT_SHOWN
        }
        if self.views != 0:
            words[VIEWS] = "views unknown" if self.views is None else counted(self.views, "view")
        if self.sample is not None:
            words[SAMPLE] = f"sample={self.sample}"
        return words

    def __str__(self) -> str:
        start = f"{self.name}: " if self.name else ""
        return start + with_words(self.kind, self.words().values())


def with_words(name: str, words: Iterable[str]) -> str:
    """Returns a name with words in parentheses after it; without words only the name."""
    text = ", ".join(words)
    return f"{name}({text})" if text else name


def short_text(value: Any) -> str:
    """Returns the text of a parameter's value without spaces, except those in names.

    Example:
        >>> short_text({"black cat": 2.0, "dog": 0.5}), short_text([0.1, "all"]), short_text("val_recall:black cat")
        ("{'black cat':2,'dog':0.5}", "[0.1,'all']", 'val_recall:black cat')
    """
    return value if isinstance(value, str) else _inner_text(value)


def _inner_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name!r}:{_inner_text(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_inner_text, value))}]"
    return repr(value)

"""Features of images and trained heads that many tests need: each is computed once a process."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from immediate import Immediate

from featurebank.backbone import Backbone
from featurebank.engine.catalog import Engine, load_engine
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted, OnFitted
from featurebank.fitting.spec import HeadSpec
from featurebank.system.digest import of_recipe


class Memory:
    """What the engines of one network have computed and said."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.lines: list[str] = []
        self.taps: set[str] = set()
        self.engines: list[tuple[frozenset[str], Engine]] = []
        """With the taps of each. They stay open: loading one takes longer than the images of a test."""
        self.features: dict[bytes, dict[str, np.ndarray]] = {}
        """Of each image the taps that were computed."""


_MEMORIES: dict[object, Memory] = {}


class RememberingEngine(Immediate):
    """The engine that was asked for; it is loaded only for taps of images that were not computed in this process."""

    def __init__(
        self, memory: Memory, name: str, backbone: Backbone, taps: Sequence[str], options: dict[str, Any]
    ) -> None:
        self._memory, self._arguments, self._options = memory, (name, backbone, taps), options
        if not memory.taps.issuperset(taps):
            self._load()
        for line in memory.lines:
            options.get("say", print)(line)
        self.name, self.precision = memory.facts["name"], memory.facts["precision"]

    def _load(self) -> Engine:
        name, backbone, taps = self._arguments
        for known, engine in self._memory.engines:
            if known.issuperset(taps):
                return engine
        lines: list[str] = []
        engine = load_engine(name, backbone, taps, **{**self._options, "say": lines.append})
        self._memory.engines.append((frozenset(taps), engine))
        self._memory.taps.update(taps)
        self._memory.facts = {"name": engine.name, "precision": engine.precision}
        self._memory.lines = lines
        return engine

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        rows = [self._memory.features.setdefault(hashlib.blake2b(image).digest(), {}) for image in images]
        taps = self._arguments[2]
        if new := [place for place, row in enumerate(rows) if not row.keys() >= set(taps)]:
            computed = self._load().submit(images[new]).result()
            for tap, values in computed.items():
                for place, value in zip(new, values, strict=True):
                    rows[place][tap] = value
        return {tap: np.stack([row[tap] for row in rows]) for tap in taps}

    def close(self) -> None:
        """The engine stays open for the next one."""


def remember_features(patch: pytest.MonkeyPatch) -> None:
    """Lets extractions and their estimates take features from earlier ones of this process; all else stays."""

    def load(name: str, backbone: Backbone, taps: Sequence[str], **options: Any) -> RememberingEngine:
        before = {"resize", "levels"}  # what is done to images before an engine gets them
        recipe = {key: value for key, value in backbone.recipe.items() if key not in before}
        kind = (name, of_recipe(recipe), options["batch_size"], options["precision"])
        return RememberingEngine(_MEMORIES.setdefault(kind, Memory()), name, backbone, taps, options)

    patch.setattr("featurebank.extraction.target.load_engine", load)
    patch.setattr("featurebank.extraction.estimate.load_engine", load)
    patch.setattr("featurebank.extraction.estimate.CALIBRATION_S", 0.1)  # a rate says nothing here


_FITS: dict[bytes, list[bytes]] = {}
"""Of each call of `fit_heads` the position and the result of each head, pickled, in the order of their ends."""


def remember_heads(patch: pytest.MonkeyPatch) -> None:
    """Lets grids take heads that an earlier test of this process has trained on the same features; all else stays.

    What a test itself has trained is trained again: a page may show that a second training gives the same.
    """
    earlier = dict(_FITS)

    def fit(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
        key = _key(specs, data)
        if key in earlier:
            for result in earlier[key]:
                on_fitted(*pickle.loads(result))
            return
        results: list[bytes] = []

        def fitted(position: int, one: Fitted) -> None:
            results.append(pickle.dumps((position, one)))
            on_fitted(position, one)

        fit_heads(specs, data, fitted if key else on_fitted)
        if key:
            _FITS[key] = results

    patch.setattr("featurebank.grid.worker.fit_heads", fit)


def _key(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData) -> bytes | None:
    """Returns a digest of all that heads are trained from; None for heads of users, and for features in the bank."""
    arrays = [data.X, data.y, data.X_val, data.y_val, *data.views, data.weights, data.groups_val]
    given = [array for array in arrays if array is not None]
    ours = all(spec.kind.isidentifier() for spec, _ in specs)
    if not ours or not data.reference or not all(isinstance(array, np.ndarray) for array in given):
        return None
    scaling = None if data.scaling is None else pickle.dumps(data.scaling)
    words = (specs, replace(data.reference, place=""), data.tap, data.class_names, scaling)
    digest = hashlib.blake2b(repr(words).encode())
    for array in given:
        digest.update(repr((array.shape, array.dtype)).encode())
        digest.update(np.ascontiguousarray(array))
    return digest.digest()

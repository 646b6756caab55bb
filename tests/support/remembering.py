"""Engines that remember the features of each image, so that many tests with the same images compute them once."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from immediate import Immediate

from featurebank.backbone import Backbone
from featurebank.engine.catalog import Engine, load_engine


class Memory:
    """What one engine has computed and said."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.lines: list[str] = []
        self.features: dict[bytes, dict[str, np.ndarray]] = {}


_MEMORIES: dict[object, Memory] = {}


class RememberingEngine(Immediate):
    """The engine that was asked for; it is loaded only for images that it has not seen in this process."""

    def __init__(self, memory: Memory, backbone: Backbone, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._memory, self._backbone, self._arguments, self._options = memory, backbone, arguments, options
        self._engine: Engine | None = None
        if memory.facts:
            for line in memory.lines:
                options.get("say", print)(line)
        else:
            self._load()
        self.name, self.precision = memory.facts["name"], memory.facts["precision"]

    def _load(self) -> Engine:
        if self._engine is None:
            name, *others = self._arguments
            lines: list[str] = []
            self._engine = load_engine(name, self._backbone, *others, **{**self._options, "say": lines.append})
            if not self._memory.facts:
                self._memory.facts = {"name": self._engine.name, "precision": self._engine.precision}
                self._memory.lines = lines
                for line in lines:
                    self._options.get("say", print)(line)
        return self._engine

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        keys = [hashlib.blake2b(image).digest() for image in images]
        if new := [row for row, key in enumerate(keys) if key not in self._memory.features]:
            computed = self._load().submit(images[new]).result()
            for place, row in enumerate(new):
                self._memory.features[keys[row]] = {tap: rows[place] for tap, rows in computed.items()}
        rows = [self._memory.features[key] for key in keys]
        return {tap: np.stack([row[tap] for row in rows]) for tap in rows[0]}

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def remember_features(patch: pytest.MonkeyPatch) -> None:
    """Lets extractions take features from earlier ones of this process; everything else about them stays."""

    def load(name: str, backbone: Backbone, *arguments: Any, **options: Any) -> RememberingEngine:
        kind = (name, backbone.digest, tuple(map(tuple, arguments)), options["batch_size"], options["precision"])
        memory = _MEMORIES.setdefault(kind, Memory())
        return RememberingEngine(memory, backbone, (name, *arguments), options)

    patch.setattr("featurebank.extraction.target.load_engine", load)

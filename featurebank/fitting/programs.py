"""Trains heads with epochs, many heads of one family in one TensorFlow program (`Head.train_heads`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.errors import HeadError, RamLimitError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fitted import Fitted, OnFitted, failed
from featurebank.fitting.scoring import score
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.memory import check_memory
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.training.monitors import named_classes


def fit_in_programs(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Fits the heads of one family in joint programs; those that need too much memory fail without a start."""
    every = [spec.make(seed) for spec, seed in specs]
    images = data.X.rows_at_a_time if isinstance(data.X, StoredVectors) else len(data.y)
    places = []
    for place, head in enumerate(every):
        try:
            check_memory(head, images, data.shape, data.present, data.nbytes)
            places.append(place)
        except RamLimitError as error:
            on_fitted(place, failed(head, 0.0, 1, error))
    if not places:
        return
    heads = [every[place] for place in places]

    def on_trained(position: int, failure: str | None, seconds: float, together: int) -> None:
        scores_by_split: dict[str, dict[str, Any]] = {}
        if not failure:
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # `score` raises an error for such probabilities
                    scores_by_split = score(heads[position], data)
            except HeadError as error:
                failure = str(error)
        on_fitted(places[position], Fitted(heads[position], seconds, together, scores_by_split, (), failure))

    with named_classes(data.class_names):
        heads[0].train_heads(
            heads, data.X, data.y, (data.X_val, data.y_val), views=data.views, on_trained=on_trained,
            sample_weight=data.weights,
        )  # fmt: skip

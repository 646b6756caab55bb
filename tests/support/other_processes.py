"""What tests do in other processes: a spawned process finds it here, whether or not the tests are importable."""

from __future__ import annotations

from typing import Any

import featurebank as fb
from featurebank.bank import Bank

GRID = [{"kind": "ridge"}, {"kind": "knn"}]


def work(bank: Bank, dataset: Any, run: Any, head: Any) -> dict[str, Any]:
    """What a worker may do; runs in another process."""
    features = bank.features("pooled", "val")
    return {
        "features": features.sum(),
        "image": int(dataset.image(3).sum()),
        "predicted": head.predict(features).tolist(),
        "from the run": run.load().predict(features).tolist(),
        "trained": [one.run for one in fb.train_heads(bank, GRID)],
        "new": [one.failure for one in fb.train_heads(bank, [{"kind": "nearest_mean"}])],
    }


def neural(bank: Bank, epochs: int) -> str:
    try:
        fb.train_heads(bank, [{"kind": "softmax", "epochs": epochs}])
    except fb.FeatureBankError as error:
        return str(error)
    return "trained"

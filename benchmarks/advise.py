"""How many wrong labels does `featurebank advise` find, how fast, and how often do its forecasts hold?

A bank of photos (`--photos DIR`, a folder of class folders; without it, the bundled digits) through EfficientNet-Lite0.

Labels: 2, 5 and 10 % of them are changed at random. "at k" is the share of changed labels among as many of the least
probable ones as were changed, and AUC is that of the probabilities. "doubted" is the share of the doubted labels that
were changed, and "of them" the share of the changed ones that are doubted.

Forecasts: from half of the images, drawn by chance 20 times, the error with all images is forecast; it counts how often
the error that the same head then has is inside the stated interval. Seconds of the processor do not depend on others
that use the machine; seconds on the clock do.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import featurebank as fb
from benchmarks.harness import conditions
from featurebank.advice.label_errors import doubtful_labels
from featurebank.advice.learning_curve import learning_curve
from featurebank.heads.exact.kernel_left_out import STEPS, kernel_left_out, rbf_distances
from featurebank.system.runtime import limited_blas

SHARES = (0.02, 0.05, 0.1)
DRAWS = 20


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Prints the figures and writes them as JSON."""
    about = conditions()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    with tempfile.TemporaryDirectory() as place:
        dataset = fb.load_dataset(str(photos) if photos else "digits", limit=200 if quick else None)
        bank = fb.extract(dataset, "efficientnet_lite0", cache=place)
        features, labels = bank.features(), bank.labels()
    print(f"{len(labels)} images of {len(bank.classes)} classes")
    found = [_labels(features, labels, share, rounds) for share in SHARES]
    forecasts = _forecasts(features, labels, 4 if quick else DRAWS)
    output.parent.mkdir(parents=True, exist_ok=True)
    value = {"conditions": about, "images": len(labels), "labels": found, "forecasts": forecasts}
    output.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    print(f"written to {output}")


def _labels(features: np.ndarray, labels: np.ndarray, share: float, rounds: int) -> dict[str, float]:
    trials = [_trial(features, labels, share, seed) for seed in range(rounds)]
    means = {name: float(np.mean([trial[name] for trial in trials])) for name in trials[0]}
    print(
        "{changed:.0%} changed: {at_k:.3f} at k, AUC {auc:.3f}, doubted {precision:.3f} of them {recall:.3f}, "
        "{seconds:.2f} s on the clock, {processor:.2f} s of the processor".format(changed=share, **means)
    )
    return {"changed": share, **means}


def _trial(features: np.ndarray, labels: np.ndarray, share: float, seed: int) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    random, classes = np.random.default_rng(seed), int(labels.max()) + 1
    changed = random.choice(len(labels), max(1, round(share * len(labels))), replace=False)
    given, wrong = labels.copy(), np.zeros(len(labels), bool)
    given[changed] = (given[changed] + random.integers(1, classes, len(changed))) % classes
    wrong[changed] = True
    clock, processor = time.perf_counter(), time.process_time()
    result = doubtful_labels(features, given)
    return {
        "seconds": time.perf_counter() - clock,
        "processor": time.process_time() - processor,
        "at_k": float(wrong[result.ranking[: len(changed)]].mean()),
        "auc": float(roc_auc_score(wrong, -result.beliefs)),
        "precision": float(wrong[result.rows].mean()) if len(result.rows) else 0.0,
        "recall": float(wrong[result.rows].sum() / len(changed)),
    }


def _forecasts(features: np.ndarray, labels: np.ndarray, draws: int) -> dict[str, Any]:
    with limited_blas():
        distances, gamma = rbf_distances(STEPS.rows(features))
        logits = kernel_left_out(np.exp(-gamma * distances), labels, int(labels.max()) + 1).logits
    error, held, widths, processor = float((logits.argmax(axis=1) != labels).mean()), 0, [], time.process_time()
    for seed in range(draws):
        rows = np.sort(np.random.default_rng(seed).choice(len(labels), len(labels) // 2, replace=False))
        low, high = learning_curve(features[rows], labels[rows]).forecast(len(labels)).interval
        held += low <= error <= high
        widths.append(high - low)
    seconds = (time.process_time() - processor) / draws
    print(
        f"forecasts: the error with all images, {error:.3f}, is inside {held} of {draws} intervals, which are "
        f"{np.mean(widths):.3f} wide; {seconds:.2f} s of the processor each"
    )
    return {"error": error, "held": held, "draws": draws, "width": float(np.mean(widths)), "processor": seconds}

"""Short labels for banks of one dataset: only what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featurebank.bank.manifest import Manifest
from featurebank.system import digest

_DIGITS = 4


def bank_labels(manifests: Mapping[Path, Manifest]) -> dict[Path, str]:
    """Returns a label for each bank, such as "lite0 bfloat16": of network, pixels, precision and so on what differs.

    The number of pixels is left out if the networks alone differ with it, and so is everything else that follows from
    the network. Banks that differ in nothing else have a digest of their recipe in the label,
    and copies of one bank have their names.

    Args:
        manifests: the manifests of the banks by their directories.
    """
    rows = {path: _parts(manifest) for path, manifest in manifests.items()}
    chosen = ["backbone"] if _differs(rows, "backbone", ()) or len(rows) == 1 else []
    for name in ("precision", "pixels", "weights", "resize", "preprocessing", "views"):
        if _differs(rows, name, chosen):
            chosen.append(name)
    labels = {path: " ".join(row[name] for name in chosen if row[name]) for path, row in rows.items()}
    alike = _repeated(labels)
    labels |= {path: f"{labels[path]} {manifests[path].key[:_DIGITS]}".strip() for path in alike}
    return labels | {path: path.name for path in _repeated(labels)}


def _repeated(labels: Mapping[Path, str]) -> list[Path]:
    """Returns the banks whose label is empty or that of another bank, too."""
    texts = list(labels.values())
    return [path for path, label in labels.items() if not label or texts.count(label) > 1]


def _differs(rows: Mapping[Path, Mapping[str, str]], name: str, chosen: Sequence[str]) -> bool:
    """Returns whether a part differs between two banks that agree in the chosen parts."""
    seen: dict[tuple[str, ...], set[str]] = {}
    for row in rows.values():
        seen.setdefault(tuple(row[part] for part in chosen), set()).add(row[name])
    return any(len(values) > 1 for values in seen.values())


def _parts(manifest: Manifest) -> dict[str, str]:
    recipe = manifest.recipe
    return {
        "backbone": str(recipe["backbone"]).removeprefix("efficientnet_"),
        "precision": str(recipe.get("precision", "float32")),
        "pixels": f"{recipe['image_size']}px" if "image_size" in recipe else "",
        "weights": _weights(manifest),
        "resize": str(recipe.get("resize", "")).partition(":")[0],
        "preprocessing": str(recipe.get("preprocessing", "")).partition(":")[0],
        "views": _views(recipe.get("views")),
    }  # fmt: skip


def _weights(manifest: Manifest) -> str:
    """Returns the weights as the user named them, if that is short, else the beginning of their digest."""
    named = Path(str(manifest.source.get("weights") or "")).name
    return named or str(manifest.recipe.get("weights", ""))[:_DIGITS]


def _views(recipe: Any) -> str:
    return "" if not recipe else f"views {digest.of_recipe(recipe)[:_DIGITS]}"

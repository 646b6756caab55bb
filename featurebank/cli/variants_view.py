"""The results of the variants of a pipeline as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurebank.pipeline import VariantResult


def print_variants(results: Sequence[VariantResult]) -> None:
    """Prints one line for each variant of a pipeline: the selected head and its metrics."""
    from featurebank.cli.tables import print_table

    columns = ("variant", "selected", "val acc", "95 % interval", "fine-tuned", "test acc", "seconds")
    print_table(
        columns, [_variant_cells(done) for done in results], right=("val acc", "95 % interval", "test acc", "seconds"),
        whole=("variant",),
    )  # fmt: skip


def _variant_cells(variant: VariantResult) -> list[str]:
    best, tuned = variant.result.chosen, variant.result.finetuned
    val, test = best.metrics["val"], best.metrics.get("test")
    low, high = val["accuracy_interval"]
    gain = "-" if tuned is None else f"{(tuned.finetune or {})['gain']['accuracy'] * 100:+.1f} points"
    return [
        variant.name, str(best.spec), f"{val['accuracy']:.4f}", f"{low:.3f}-{high:.3f}", gain,
        f"{test['accuracy']:.4f}" if test else "-", f"{variant.seconds:.1f}",
    ]  # fmt: skip

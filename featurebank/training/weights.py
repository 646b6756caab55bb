"""The weights of heads that are trained side by side: what the name of a weight says about it.

Programs and saved files know a weight by its name. In a program, a weight of K heads is one tensor:

    SHARED_KERNEL                   (d, K, h): the kernel whose input is the same for all heads. So the K products are
                                    one matrix product, without a copy.
    "kernel_LAYER"                  (K, h, h'): any other kernel.
    "bias_LAYER"                    (K, h'). A layer directly before batch normalisation has none.
    "gamma_LAYER", "beta_LAYER"     (K, h'): scale and shift of batch normalisation.
    "mean_LAYER", "variance_LAYER"  (K, h'): its moving averages, which are not trained.

A stem may have weights of its own besides, whose first axis is K, too.
"""

from __future__ import annotations

SHARED_KERNEL = "kernel0"


def is_kernel(name: str) -> bool:
    """Returns whether a weight is a kernel: it is regularised, and its initial values are random."""
    return name.startswith("kernel")


def is_gamma(name: str) -> bool:
    """Returns whether a weight is a scale of batch normalisation: its initial values are 1."""
    return name.startswith("gamma_")


def moving_averages(name: str) -> dict[str, float]:
    """Returns the moving averages that belong to a weight, with their initial values; only gammas have some."""
    layer = name.removeprefix("gamma_")
    return {f"mean_{layer}": 0.0, f"variance_{layer}": 1.0} if is_gamma(name) else {}


def head_axis(name: str) -> int:
    """Returns which axis of a tensor counts the heads."""
    return 1 if name == SHARED_KERNEL else 0

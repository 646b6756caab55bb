"""Says in sentences where the first bottleneck of a simulated extraction comes, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.scale.simulation import Assumed, Measured, Outcome

WORTHWHILE = 0.8
"""Below this efficiency, a fifth of what the workers cost is wasted."""


def bottleneck(outcomes: Sequence[Outcome]) -> tuple[Outcome, str] | None:
    """Returns the first outcome whose efficiency is not worthwhile, and the largest cause there; None if all are."""
    for outcome in sorted(outcomes, key=lambda one: one.workers):
        if outcome.efficiency < WORTHWHILE:
            return outcome, max(outcome.lost, key=lambda cause: outcome.lost[cause])
    return None


def advice(outcomes: Sequence[Outcome], measured: Measured, assumed: Assumed, pieces: int) -> list[str]:
    """Returns sentences about simulated extractions of the same images by more and more workers.

    Args:
        outcomes: one for each number of workers.
        measured, assumed: what they were simulated from.
        pieces: the number of pieces of the images.
    """
    found = bottleneck(outcomes)
    best = max(outcomes, key=lambda one: one.images_per_second)
    if found is None:
        return [f"No bottleneck up to {best.workers} workers: they reach {best.efficiency:.0%} of their sum."]
    outcome, cause = found
    before = [one.workers for one in outcomes if one.workers < outcome.workers and one.efficiency >= WORTHWHILE]
    lines = [
        f"The first bottleneck comes at {outcome.workers} workers, which reach {outcome.efficiency:.0%} of their sum "
        f"({max(before)} still reach {WORTHWHILE:.0%})."
        if before
        else f"Even {outcome.workers} of these workers reach only {outcome.efficiency:.0%} of their sum."
    ]
    lines.append(_explained(cause, outcome, measured, assumed, pieces))
    if best.workers != max(one.workers for one in outcomes):
        lines.append(f"More than {best.workers} workers are not faster: {best.images_per_second:,.0f} images/s.")
    return lines


def _explained(cause: str, outcome: Outcome, measured: Measured, assumed: Assumed, pieces: int) -> str:
    share, lost = f"{outcome.lost[cause]:.0%}", outcome.lost[cause] * outcome.seconds
    disk = assumed.disk_bytes_per_second
    each = measured.images_per_second * (measured.read_bytes + measured.write_bytes)
    explanations = {
        "digests": (
            f"The client reads all files before any worker begins, {lost:,.0f} s or {share} of the time: it computes "
            f"{measured.digests_per_second:,.0f} digests/s, and the disk gives {disk / measured.read_bytes:,.0f} "
            "files/s. This happens once for each dataset, because the cache keeps the digests: let it happen before "
            "the workers are paid for, on the machine that is nearest to the disk."
        ),
        "disk": (
            f"The disk is full: a worker asks for {each / 1e6:,.1f} MB/s, so {disk / each:,.0f} workers use up its "
            f"{disk / 1e6:,.0f} MB/s. Use a faster disk, smaller copies of the images, or fewer workers."
        ),
        "no pieces": (
            f"{pieces:,} pieces are too few for {outcome.workers} workers: {share} of their time they wait for the "
            "last ones. Use fewer workers, or extract more images or networks on the same cluster."
        ),
        "load": (
            f"Each worker first loads its network, {measured.load_seconds:,.1f} s or {share} of the time: the work is "
            "too short for so many workers."
        ),
        "slow workers": f"Slow workers cost {share} of the time: leave out machines that others use, too.",
        "failures": (
            f"{outcome.failures} failures cost {share} of the time: use machines that are not taken away, or restart "
            f"workers sooner than after {assumed.restart_seconds:,.0f} s."
        ),
        "listing": (
            f"The client lists finished pieces for {lost:,.0f} s after the last one is done, {share} of the time: run "
            "it near the disk."
        ),
    }  # fmt: skip
    return explanations[cause]

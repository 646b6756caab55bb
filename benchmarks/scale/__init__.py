"""How fast is featurebank beyond one machine, what limits it, and what does a plan for a hundred million images cost?

It measures workers, a large bank of made rows and heads on features that stay in the bank, each in a process of its
own; then it simulates an extraction by 1 to 256 workers. `--make DIR` only writes a made bank, `--plan` only prints a
plan from what was measured before.

Open `options` for what can be asked, `study` for what is measured and printed. `made` writes a bank, `workers`, `banks`
and `heads` measure (by `child`, in processes of their own), `simulation`, `advice` and `plan` compute.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def run(rounds: int, *, quick: bool, output: Path, options: argparse.Namespace, photos: Path | None = None) -> None:
    """Runs the benchmark, writes a made bank, or prints a plan; a round is one measurement of everything."""
    from benchmarks.scale import study

    if options.make:
        print(study.made_bank(options.make, options, quick=quick))
    elif options.plan and output.is_file():
        study.print_plan(output, options)
    else:
        study.measure_all(output, options, photos=photos, quick=quick)
        if options.plan:
            study.print_plan(output, options)

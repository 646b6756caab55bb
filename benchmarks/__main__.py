"""`python -m benchmarks NAME [--rounds N] [--quick] [--output FILE]`; a benchmark may have further options."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path

NAMES = {
    "decoding": "JPEG files to the network's size, by several decoders, and what features make of it",
    "extraction": "images to shards, against keras.Model.predict",
    "foreign": "photos to shards by networks of timm, against timm, Keras and OpenVINO alone; a part of extraction",
    "finetune": "a fine-tune's steps, against keras.Model.fit; and tails",
    "tails": "tails from stored maps, against keras.Model.fit from images",
    "plain": "the script of a scikit-learn user, from photos to a table, against the same with featurebank",
    "similar": "similar images of a bank, against scikit-learn's NearestNeighbors",
    "advise": "what advise finds of changed labels, and how often its forecasts hold",
    "certainty": "coverage of sets of classes, abstention, and images unlike the training, over 20 splits",
    "report": "a report of a grid's runs, and its page in a browser",
    "heads": "heads together against one by one, and whole grids",
    "joined": "joined taps against pooled: accuracies, and how the parts are weighted",
    "groups": "what a split by image and a split by group promise, and the truth, where images come in groups",
    "cluster": "two processes on a cluster, against one process with two threads",
    "race": "a race of six backbones against the full search, its rules on resampled tasks, its intervals",
    "scale": "rates beyond one machine, a simulation of 1 to 256 workers, a plan for a billion images",
}

OWN_OPTIONS = {"scale"}
"""Benchmarks that add options of their own."""


def parser_of(words: Sequence[str]) -> argparse.ArgumentParser:
    """Returns the parser of a command line, with the options of the benchmark that it names."""
    listing = "\n".join(f"  {name:<12}{what}" for name, what in NAMES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", epilog=f"benchmarks:\n{listing}", formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant runs, in turn")
    parser.add_argument("--quick", action="store_true", help="a small version, to see that it works")
    parser.add_argument("--photos", type=Path, help="a folder of real photos, where a benchmark wants some")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/NAME.json")
    name = next((word for word in words if word in NAMES), None)
    if name in OWN_OPTIONS:
        importlib.import_module(f"benchmarks.{name}.options").add_options(parser)
    return parser


def main() -> None:
    options = parser_of(sys.argv[1:]).parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    output = options.output or Path(__file__).parent / "results" / f"{options.name}.json"
    module = importlib.import_module(f"benchmarks.{options.name}")
    wanted = inspect.signature(module.run).parameters
    further = {key: value for key, value in {"photos": options.photos, "options": options}.items() if key in wanted}
    module.run(options.rounds, quick=options.quick, output=output, **further)


if __name__ == "__main__":
    main()

"""Computes the table of backbones: `python -m docs.backbone_table` writes `docs/reference/backbones.json`.

Each network is built with random weights, which needs no download and takes some minutes for all of them; networks that
the file has already are left out, unless `--all` is set.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featurebank.backbone import BackboneOptions, known_backbones, load_network
from featurebank.backbone.spec import BackboneSpec

FILE = Path(__file__).resolve().parent / "reference" / "backbones.json"


def facts_of(spec: BackboneSpec) -> dict[str, Any]:
    """Returns the figures of one network; builds it."""
    outline = load_network(spec.name, BackboneOptions(weights="random:0")).outline()
    return {
        "parameters": spec.parameters,
        "image_size": spec.image_size,
        "features": spec.channels,
        "cuts": [cut.name for cut in outline.cuts],
    }


def read_table() -> dict[str, dict[str, Any]]:
    """Returns the figures of each network by its name, as the file has them."""
    return dict(json.loads(FILE.read_text(encoding="utf-8"))) if FILE.exists() else {}


def write_table(table: dict[str, dict[str, Any]]) -> None:
    """Writes the file, in the order of the catalog."""
    ordered = {spec.name: table[spec.name] for spec in known_backbones() if spec.name in table}
    lines = [f" {json.dumps(name)}: {json.dumps(facts)}" for name, facts in ordered.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Computes what the file lacks; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.backbone_table", description="Compute the table of backbones."
    )
    parser.add_argument("--all", action="store_true", help="also compute again what the file has")
    options = parser.parse_args(arguments)
    table = {} if options.all else read_table()
    for spec in sorted(known_backbones(), key=lambda one: one.parameters):
        if spec.name not in table:
            table[spec.name] = facts_of(spec)
            write_table(table)  # after each, so that an interruption loses one
            sys.stdout.write(f"{spec.name}: {len(table[spec.name]['cuts'])} cuts\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

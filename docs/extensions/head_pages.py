"""The directive `heads`: every kind of head with its parameters, from the registry."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from docs.extensions.file_pages import values_text
from docs.extensions.generated import register, table
from featurebank.grid.schema import parameter_schemas
from featurebank.heads.catalog import HEADS
from featurebank.heads.kinds import HeadKind
from featurebank.heads.needs import MAPS, MAPS_AT_A_CUT, VECTORS
from featurebank.training.common_parameters import CALIBRATE, SAMPLE_WEIGHT
from featurebank.training.options import TrainingOptions

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_NEEDS = {
    VECTORS: "vectors; a map is flattened", MAPS: "a map", MAPS_AT_A_CUT: "a map at a cut point of the backbone",
}  # fmt: skip
_WITH_EPOCHS, _OF_EVERY = "Parameters of heads with epochs", "Parameters of every head"
_TRAINING = tuple(field.name for field in fields(TrainingOptions))
_COMMON = (CALIBRATE, SAMPLE_WEIGHT)
IMAGES, WIDTH, CLASSES = 2000, 512, 10
"""The case that memory and time are compared with."""
_SAME = 1.05


def heads_text() -> str:
    """Returns a table of all kinds, a section for each, and the parameters that several share, in Markdown."""
    rows = [(f"[`{kind.name}`](#{kind.name})", kind.what, _NEEDS[kind.needs]) for kind in HEADS.values()]
    parts = ["## Kinds", table(("kind", "what it is", "trained on"), rows), *map(_section, HEADS.values())]
    for title, names in ((_WITH_EPOCHS, _TRAINING), (_OF_EVERY, _COMMON)):
        shared = {name: one for name, one in parameter_schemas(HEADS["softmax"]).items() if name in names}
        parts += [f"## {title}", _parameters(shared)]
    return "\n\n".join(parts) + "\n"


def _section(kind: HeadKind) -> str:
    """Returns the section of one kind: what it needs, how its cost grows, and its parameters."""
    shared = parameter_schemas(HEADS["softmax"])
    everywhere = {*_COMMON, *(_TRAINING if kind.is_neural else ())}
    own = {
        name: one for name, one in parameter_schemas(kind).items() if name not in everywhere or one != shared.get(name)
    }
    parts = [
        f"## {kind.name}",
        f"{kind.what[0].upper()}{kind.what[1:]}.",
        "\n".join(f"- **{name}**: {value}" for name, value in _facts(kind)),
    ]
    links = [_link(title) for title in ((_WITH_EPOCHS, _OF_EVERY) if kind.is_neural else (_OF_EVERY,))]
    parts += [_parameters(own), f"It also takes the {' and the '.join(links)}."]
    return "\n\n".join(part for part in parts if part)


def _link(title: str) -> str:
    """Returns a link to a section of the page, as a part of a sentence."""
    return f"[{title[0].lower()}{title[1:]}](#{title.lower().replace(' ', '-')})"


def _facts(kind: HeadKind) -> list[tuple[str, str]]:
    """Returns what is known of a kind, by name."""
    facts = [
        ("trained on", _NEEDS[kind.needs]),
        ("training", "in epochs, many heads in one program" if kind.is_neural else "to its solution, without epochs"),
        ("images with weights", "yes" if kind.weights_images else "no: all training images count alike"),
        (
            "more features than fit into memory",
            "yes, in blocks from the disk" if streams(kind) else "no: see `--sample`",
        ),
        ("memory beside the features", growth(kind, "memory")),
        ("time", growth(kind, "time")),
    ]
    if kind.counterpart or not kind.own:
        facts.append(("as", f"`{(kind.counterpart or kind.target).replace(':', '.')}`"))
    changed = [
        f"`{name} = {json.dumps(ours)}` ({json.dumps(theirs)} there)"
        for name, (ours, theirs) in kind.differing_defaults().items()
    ]
    return [*facts, ("other defaults than there", ", ".join(changed))] if changed else facts


def _parameters(schemas: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [(f"`{name}`", values_text(one), _plain(one["description"])) for name, one in schemas.items()]
    return table(("parameter", "value", "meaning"), rows) if rows else ""


def streams(kind: HeadKind) -> bool:
    """Returns whether heads of a kind can be trained on features that do not fit into memory."""
    return bool(getattr(kind.make({}), "streams", False))


def growth(kind: HeadKind, what: str) -> str:
    """Returns in words how memory or time grow when images, features or classes are doubled.

    Args:
        kind: the kind of head.
        what: "memory", the estimate that is compared with `--ram`, or "time", that by which a grid plans.
    """
    head = kind.make({})
    shape = (WIDTH,) if kind.needs == VECTORS else (7, 7, WIDTH)

    def measured(images: int, scale: int, classes: int) -> float:
        wide = (*shape[:-1], shape[-1] * scale)
        return float(
            head.working_bytes(images, wide, classes) if what == "memory" else head.cost(images, wide, classes)
        )

    try:
        one = measured(IMAGES, 1, CLASSES)
    except AttributeError:  # a tail, whose layers are those of a backbone
        return "depends on the layers of the backbone"
    if not one:
        return "little: it is not counted"
    factors = {
        "images": measured(2 * IMAGES, 1, CLASSES) / one,
        "features": measured(IMAGES, 2, CLASSES) / one,
        "classes": measured(IMAGES, 1, 2 * CLASSES) / one,
    }
    return ", ".join(f"{_times(factor)} with twice the {name}" for name, factor in factors.items())


def _times(factor: float) -> str:
    """Returns a factor in words."""
    return "the same" if factor < _SAME else f"{factor:.1f} times"


def _plain(text: str) -> str:
    """Returns a text of a docstring without roles of Sphinx."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`").replace("*", "\\*").replace("<", "&lt;")


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    return register(app, "heads", lambda argument: heads_text())

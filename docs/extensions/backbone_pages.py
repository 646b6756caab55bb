"""The directive `backbones`: every built-in backbone with its size, cuts and licences, from `docs.backbone_table`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docs.backbone_table import read_table
from docs.extensions.generated import register, table
from featurebank.backbone import known_backbones
from featurebank.backbone.families.efficientnet_lite import EfficientNetLite
from featurebank.backbone.spec import BackboneSpec

if TYPE_CHECKING:
    from sphinx.application import Sphinx

UNKNOWN = "see its authors"
PUBLISHED = {"vgg16": "CC BY (VGG, Oxford)", "vgg19": "CC BY (VGG, Oxford)", "resnet50": "MIT (Kaiming He)"}
"""The licences of weights that the documentation of Keras Applications states, with the publisher."""
_EXTRA = re.compile(r"featurebank\[(\w+)\]")


def backbones_text() -> str:
    """Returns the tables of sizes, licences and cuts in Markdown."""
    known = read_table()
    specs = list(known_backbones())
    sizes = [_size(spec, known.get(spec.name, {})) for spec in specs]
    licences = [(f"`{spec.name}`", *licence_of(spec)) for spec in specs]
    cuts = [_cuts(spec.name, known[spec.name]["cuts"]) for spec in specs if spec.name in known]
    return "\n\n".join([
        "## Sizes",
        table(("name", "parameters", "MB", "pixels", "features", "cuts"), sizes),
        "## Licences",
        table(("name", "code", "weights", "extra"), licences),
        "## Cut points",
        *cuts,
    ])  # fmt: skip


def _size(spec: BackboneSpec, facts: dict[str, Any]) -> tuple[str, ...]:
    number = str(len(facts["cuts"])) if facts else "not counted"
    megabytes = f"{spec.parameters * 4 / 1e6:.0f}"
    numbers = (f"{spec.parameters / 1e6:.1f} M", megabytes, str(spec.image_size), str(spec.channels), number)
    return (f"`{spec.name}`", *numbers)


def licence_of(spec: BackboneSpec) -> tuple[str, str, str]:
    """Returns the licence of the code and of the weights, and the extra that the weights need."""
    if spec.name.startswith("basenet"):
        return "Apache-2.0 (featurebank)", "none: it has no trained weights", ""
    if spec.name.startswith(("efficientnet_lite", "squeezenet")):
        extra = _EXTRA.search(spec.install) if isinstance(spec, EfficientNetLite) else None
        return "Apache-2.0 (featurebank)", UNKNOWN, extra[1] if extra else ""
    return "Apache-2.0 (Keras)", PUBLISHED.get(spec.name, UNKNOWN), ""


def _cuts(name: str, cuts: list[str]) -> str:
    return f":::{{dropdown}} {name}: {len(cuts)}\n{', '.join(f'`{cut}`' for cut in cuts)}\n:::"


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    return register(app, "backbones", lambda argument: backbones_text())

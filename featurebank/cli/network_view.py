"""What `featurebank backbones NAME` shows of a network, whatever library it is of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from featurebank.backbone import Backbone
from featurebank.backbone.outline import Outline
from featurebank.backbone.resize import AUTO, CROP, PAD, STRETCH, WHOLE, central_of
from featurebank.cli.tables import print_table, size
from featurebank.cli.terminal import echo, print_json
from featurebank.errors import ConfigError

_BYTES_FLOAT32, _BYTES_FLOAT16 = 4, 2
_VECTOR, _ROWS = 1, 2
_DEFAULT_TAPS = ("pooled", "map", "tokens", "cls")
_RULES = {
    AUTO: "the middle square, 7/8 of the shorter side (small images: all of it)",
    CROP: "the middle square, 7/8 of the shorter side",
    WHOLE: "the middle square",
    STRETCH: "the whole image, stretched to a square",
    PAD: "the whole image in the middle of a black square",
}


def print_network(name: str, backbone: Backbone, *, as_json: bool) -> None:
    """Prints the features, the figures and the cut points of a network.

    Args:
        name: as the user wrote it.
        backbone: the network.
        as_json: whether to print JSON.
    """
    outline = backbone.outline()
    taps = _default_taps(backbone, outline)
    if as_json:
        print_json(_as_json(name, backbone, outline, taps))
        return
    echo(f"{name}, {backbone.image_size} x {backbone.image_size} pixels ({backbone.spec.sizes})")
    for line in _lines(backbone, outline):
        echo(line)
    right = ("bytes per image",)
    rows = [(tap, " x ".join(map(str, shape)), size(count), stored) for tap, (shape, stored, count) in taps.items()]
    print_table(("tap", "shape", "bytes per image", "stored as"), rows, right=right, whole=("tap",))
    if not outline.cuts:
        return
    echo("All layers can be a --tap (--layers lists them). A tail can start at:" if backbone.form == "keras" else
         "All layers can be a --tap (--layers lists them). Cut points:")  # fmt: skip
    numbers = ("float16 per image", "work after it")
    cuts = [
        (
            cut.name, " x ".join(map(str, cut.shape)), size(cut.bytes_per_image_float16),
            f"{100 * cut.remaining_work:.1f} %",
        )
        for cut in outline.cuts
    ]  # fmt: skip
    print_table(("layer", "shape", *numbers), cuts, right=numbers)


def print_layers(name: str, backbone: Backbone, *, as_json: bool) -> None:
    """Prints every layer of a network; for arguments see `print_network`."""
    facts = backbone.layer_facts()
    cuts = {cut.name for cut in backbone.outline().cuts}
    if as_json:
        layers = [
            {
                "layer": one.name, "kind": one.kind, "shape": list(one.shape), "parameters": one.parameters,
                "cut_point": one.name in cuts,
            }
            for one in facts
        ]  # fmt: skip
        print_json({"name": name, "image_size": backbone.image_size, "layers": layers})
        return
    rows = [
        (
            one.name, one.kind, " x ".join(map(str, one.shape)),
            "" if one.parameters is None else f"{one.parameters:,}", "yes" if one.name in cuts else "",
        )
        for one in facts
    ]  # fmt: skip
    print_table(("layer", "kind", "shape", "parameters", "cut point"), rows, right=("parameters",), whole=("layer",))


def count(number: float) -> str:
    """Formats a number for people: 2872 as "2.9 k", 23587712 as "23.6 M", 4089284608 as "4.09 G"."""
    if number >= 10**9:
        return f"{number / 1e9:.2f} G"
    return f"{number / 1e6:.1f} M" if number >= 10**5 else f"{number / 1e3:.1f} k"


def resize_in_words(rule: str) -> str:
    """Returns a resize rule in words for people.

    Example:
        >>> resize_in_words("shorter:256:bilinear:antialias:centre:v1")
        'the shorter side is scaled to 256 pixels, bilinear; then the middle square'
    """
    parts = central_of(rule)
    if parts is None:
        return f"{_RULES[rule]}, bicubic" if rule in _RULES else rule
    what = "the shorter side is" if parts.form == "shorter" else "both sides are"
    return f"{what} scaled to {parts.side} pixels, {parts.interpolation}; then the middle square"


def _default_taps(backbone: Backbone, outline: Outline) -> dict[str, tuple[tuple[int, ...], str, int]]:
    """Returns the shape, the type and the bytes of each tap that is not a layer, as far as the network has them."""
    taps = {}
    for tap in _DEFAULT_TAPS:
        if tap in {"tokens", "cls"} and outline.tokens is None:
            continue
        try:
            backbone.check_tap(tap)
            shape = outline.tap_shape(tap, backbone.spec.layers_hint)
        except ConfigError:
            continue
        is_vector = len(shape) == _VECTOR
        width = _BYTES_FLOAT32 if is_vector else _BYTES_FLOAT16
        taps[tap] = (shape, "float32" if is_vector else "float16", math.prod(shape) * width)
    return taps


def _lines(backbone: Backbone, outline: Outline) -> Iterator[str]:
    """Yields what there is to say about a network in sentences."""
    spec = backbone.spec
    if outline.tokens:
        width = outline.shapes["tokens"][-1]
        yield f"features: {outline.tokens.count} tokens of {width}: {outline.tokens.describe()}"
    if outline.tokens or spec.pooling:
        yield f"pooled: {spec.pooling or 'average of the map'}"
    work = "" if outline.multiply_adds is None else f", {count(outline.multiply_adds)} multiply-adds per image"
    parameters = f"{count(spec.parameters)} parameters" if spec.parameters else "parameters unknown"
    yield f"size: {parameters}{work}"
    yield f"images: {resize_in_words(backbone.resize_rule)}"
    yield f"pixels: {spec.preprocessing}"
    if spec.licence:
        yield f"licence: {spec.licence}"
    if spec.note:
        yield spec.note
    if spec.caution:
        yield f"warning: {spec.caution}"


def _as_json(
    name: str, backbone: Backbone, outline: Outline, taps: dict[str, tuple[tuple[int, ...], str, int]]
) -> dict[str, Any]:
    spec, tokens = backbone.spec, outline.tokens
    return {
        "name": name, "image_size": backbone.image_size,
        "cut_points": [
            {
                "layer": cut.name, "shape": list(cut.shape), "bytes_float16": cut.bytes_per_image_float16,
                "remaining_work": round(cut.remaining_work, 6),
            }
            for cut in outline.cuts
        ],
        "form": backbone.form,
        "taps": {
            tap: {"shape": list(shape), "dtype": kind, "bytes": number} for tap, (shape, kind, number) in taps.items()
        },
        "tokens": None if tokens is None else {
            "count": tokens.count, "prefix": tokens.prefix, "class_token": tokens.has_class_token,
            "grid": list(tokens.grid) if tokens.grid else None,
        },
        "pooling": spec.pooling or None, "multiply_adds": outline.multiply_adds, "parameters": spec.parameters,
        "resize": backbone.resize_rule, "preprocessing": spec.preprocessing, "image_sizes": spec.sizes,
        "licence": spec.licence or None, "note": spec.note, "caution": spec.caution,
    }  # fmt: skip

"""A map of images: similar images lie near each other, mistakes have a ring, and the tooltip shows the image.

A page can listen to the signal `picked`, {"id": [id]} after a click on an image. It may leave out the thumbnails and
set `image` of each row of the specification's data itself, so that no image is there twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featurebank.charts.theme import SHAPED, apply_theme, class_scale, dataset
from featurebank.errors import ConfigError
from featurebank.system.html import COLOURS
from featurebank.words import counted

if TYPE_CHECKING:
    import altair as alt

__all__ = ["LEGEND", "image_map"]

LEGEND = 30
"""The largest number of classes with a legend; of more, a click on an image brings out its class."""
_SIZES = ((300, 70), (1500, 40))
"""The size of a point, up to so many images; smaller ones beyond."""
_SMALL = 20
_WIDTH, _HEIGHT = 640, 440
_ABOUT = "datum.id + ': ' + datum.label + (datum.wrong ? ', predicted as ' + datum.predicted : '')"


def image_map(
    places: np.ndarray,
    ids: Sequence[str],
    labels: Sequence[int] | np.ndarray,
    classes: Sequence[str],
    *,
    predicted: Sequence[int] | np.ndarray | None = None,
    images: Sequence[str | None] | None = None,
    title: str = "",
) -> alt.LayerChart:
    """Returns a scatter of images, coloured by class.

    A reader can drag the map, zoom with Shift and the mouse wheel, and click a class in the legend to bring it out.

    Args:
        places: (n, 2), the place of each image, as from `project`.
        ids: (n,) the ids of the images.
        labels: (n,) the true classes, as indices into `classes`.
        classes: the names of the classes.
        predicted: (n,) the predicted classes; images for which they are wrong get a ring.
        images: (n,) thumbnails as data URIs for the tooltip; None for an image without one.
        title: the title; none by default.

    Raises:
        ConfigError: there are not as many ids, labels, predictions or thumbnails as places.

    Example:
        >>> chart = image_map(np.zeros((2, 2)), ["1.png", "2.png"], [0, 1], ["ant", "bee"], predicted=[0, 0])
        >>> [layer.mark.type for layer in chart.layer]
        ['point', 'point']
    """
    import altair as alt

    _check(len(places), ids=ids, labels=labels, predicted=predicted, images=images)
    known = np.asarray(labels) if predicted is None else np.asarray(predicted)
    rows = [
        {
            "x": float(x), "y": float(y), "id": name, "label": classes[label], "order": int(label),
            "predicted": classes[other], "wrong": bool(label != other), **({"image": image or ""} if images else {}),
        }
        for (x, y), name, label, other, image in zip(
            np.asarray(places).tolist(), ids, np.asarray(labels).tolist(), known.tolist(), images or ids, strict=True
        )
    ]  # fmt: skip
    layers = _layers(rows, with_predictions=predicted is not None, with_images=bool(images))
    count = len({row["order"] for row in rows})
    heading = alt.TitleParams(title or "map of the images", subtitle=_hints(rows, count))
    chart = alt.LayerChart(layer=layers).properties(title=heading, width=_WIDTH, height=_HEIGHT)
    return apply_theme(chart)


def _check(count: int, **columns: Sequence[Any] | np.ndarray | None) -> None:
    for name, values in columns.items():
        if values is not None and len(values) != count:
            message = f"the map needs as many {name} as places: got {len(values)}, expected {count}"
            raise ConfigError(message)


def _layers(rows: Sequence[dict[str, Any]], *, with_predictions: bool, with_images: bool) -> list[alt.Chart]:
    import altair as alt

    count = len({row["order"] for row in rows})
    size = next((size for most, size in _SIZES if len(rows) <= most), _SMALL)
    picked = alt.selection_point(name="picked", fields=["id"], on="click", empty=False)
    moved = alt.selection_interval(name="moved", bind="scales", zoom="wheel![event.shiftKey]")
    by_legend: Any = {"bind": "legend"} if count <= LEGEND else {"on": "click"}
    class_picked = alt.selection_point(name="class_picked", fields=["label"], **by_legend)
    # What a screen reader says: Vega's own text would begin with the address of the picture.
    base = alt.Chart(dataset(rows)).transform_calculate(about=_ABOUT).encode(
        description="about:N",
        x=_coordinate(alt.X, "x", rows), y=_coordinate(alt.Y, "y", rows),
        tooltip=_tooltip(with_predictions=with_predictions, with_images=with_images),
        opacity=alt.when(class_picked).then(alt.value(0.9)).otherwise(alt.value(0.08)),
    )  # fmt: skip
    points = base.mark_point(filled=True, size=size, cursor="pointer").encode(color=_colour(count))
    layers = [points.add_params(picked, moved, class_picked)]
    if any(row["wrong"] for row in rows):
        ring = base.transform_filter("datum.wrong")
        layers.append(ring.mark_point(size=3 * size, color=COLOURS["bad"], strokeWidth=2, aria=False))
    return layers


def _colour(count: int) -> alt.Color:
    import altair as alt

    columns = 2 if count <= SHAPED else 3
    legend = alt.Legend(columns=columns, symbolType="circle", labelLimit=270 // columns, symbolLimit=0, symbolOpacity=1)
    return alt.Color(
        "label:N", title=None, sort=alt.EncodingSortField("order", op="min"), scale=class_scale(count),
        legend=legend if count <= LEGEND else None,
    )  # fmt: skip


def _coordinate(channel: Any, name: str, rows: Sequence[dict[str, Any]]) -> Any:
    """Returns an axis without numbers: directions and distances of a map have no unit."""
    import altair as alt

    values = [row[name] for row in rows] or [0.0]
    margin = 0.04 * (max(values) - min(values)) or 1.0
    scale = alt.Scale(domain=[min(values) - margin, max(values) + margin], nice=False, zero=False)
    return channel(f"{name}:Q", axis=None, scale=scale)


def _tooltip(*, with_predictions: bool, with_images: bool) -> list[alt.Tooltip]:
    import altair as alt

    columns = [("id", "id"), ("label", "true class"), *([("predicted", "predicted as")] if with_predictions else [])]
    # Vega's tooltip shows the address in the field "image" as a picture.
    return [
        alt.Tooltip(f"{name}:N", title=title)
        for name, title in [*([("image", "image")] if with_images else []), *columns]
    ]


def _hints(rows: Sequence[dict[str, Any]], count: int) -> list[str]:
    """Returns what the title says below it."""
    wrong = sum(row["wrong"] for row in rows)
    about = f"{counted(len(rows), 'image')}" + (f", {counted(wrong, 'mistake')} with a ring" if wrong else "")
    click = "click a class to bring it out" if count <= LEGEND else "click an image to bring out its class"
    return [about, click, "drag to move, Shift + wheel to zoom"]

"""The page of `featurebank advise -o`: the sentences, the images in question, and the learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featurebank.advice.wording import gain_of
from featurebank.dataset.pictures import PictureSource, picture_of, read_pictures
from featurebank.extraction.source_images import picture_sources
from featurebank.system.files import PAGES, check_output, write_bytes
from featurebank.system.html import TINY, Picture, data_uri, environment
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import between, counted, percent

if TYPE_CHECKING:
    from featurebank.advice.result import Advice, ExaminedImage

"""The suffixes of a page's name."""
_SHOWN = 60
"""Images of each kind with pictures; the tables of the command list all."""
_PIXELS = 192
_LIMIT_S = 60.0
"""No further picture is read after this time."""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 240, 52, 30


def write_page(
    advice: Advice, path: str | Path, *, sources: dict[str, PictureSource] | None = None, force: bool = False,
    reporter: Reporter = SILENT,
) -> Path:  # fmt: skip
    """Writes the page; see `Advice.write_page`.

    Args:
        advice: what to show.
        path: the HTML file.
        sources: where the pictures of images to label come from, by their paths.
        force: whether an existing file is replaced.
        reporter: receives the progress.
    """
    target = check_output(path, force=force, suffixes=PAGES)
    write_bytes(target, render_page(advice, sources=sources, reporter=reporter).encode())
    return target


def render_page(advice: Advice, *, sources: dict[str, PictureSource] | None = None, reporter: Reporter = SILENT) -> str:
    """Renders the advice as one HTML document that contains all its pictures."""
    pictures = _Pictures(advice, sources or {}, reporter)
    template = environment(Path(__file__).parent / "templates").get_template("advice.html.jinja")
    text: str = template.render(
        advice=advice, facts=_facts(advice), picture=pictures.of_image, queue_picture=pictures.of_queue,
        doubts=advice.label_errors[:_SHOWN], conflicts=advice.conflicts[:_SHOWN], far=advice.outliers[:_SHOWN],
        queue=advice.labelling.queue[:_SHOWN] if advice.labelling else (), curve=_chart(advice), share=percent,
        interval=between, gain=gain_of, counted=counted,
    )  # fmt: skip
    return text


class _Pictures:
    """The pictures of a page, each read once."""

    def __init__(self, advice: Advice, sources: dict[str, PictureSource], reporter: Reporter) -> None:
        images = [one.image for one in advice.label_errors[:_SHOWN]]
        images += [one.image for one in advice.outliers[:_SHOWN]]
        images += [image for pair in advice.conflicts[:_SHOWN] for image in (pair.first, pair.second)]
        positions = list(dict.fromkeys(image.position for image in images))
        queue = [one.path for one in (advice.labelling.queue[:_SHOWN] if advice.labelling else ())]
        keys: list[int | str] = [*positions, *queue]
        inside = {path: advice.bank.position(path) for path in queue if path not in sources}
        stored = [*positions, *(place for place in inside.values() if place >= 0)]
        of_bank = dict(zip(stored, picture_sources(advice.bank, stored) if stored else (), strict=True))
        places = [of_bank[position] for position in positions]
        places += [sources.get(path) or of_bank.get(inside[path], "no picture") for path in queue]
        with reporter.track("read", len(keys), "pictures") as advance:
            read = read_pictures(places, [_PIXELS] * len(keys), limit_s=_LIMIT_S, progress=advance)
        self._read = dict(zip(keys, read, strict=True))

    def of_image(self, image: ExaminedImage) -> Picture:
        """Returns the picture of an image of the bank; without one, its title is the reason."""
        return self._picture(image.position, image.id)

    def of_queue(self, path: str) -> Picture:
        """Returns the picture of an image to label."""
        return self._picture(path, path)

    def _picture(self, key: int | str, name: str) -> Picture:
        image = self._read[key]
        if isinstance(image, str):
            return Picture(None, name, image)
        return Picture(data_uri(image), name, name, tiny=max(image.shape[:2]) <= TINY)


def _facts(advice: Advice) -> list[str]:
    recognised = [] if advice.accuracy is None else [f"{percent(advice.accuracy)} recognised without having been seen"]
    return [
        f"Bank: {advice.bank.name}", f"Network: {advice.bank.recipe.get('backbone', '')}", f"Tap: {advice.tap}",
        f"Examined: {counted(advice.images, 'label')}", *recognised,
    ]  # fmt: skip


def _chart(advice: Advice) -> dict[str, Any] | None:
    """Returns the points and lines of the learning curve in a picture of 560 x 240 units."""
    curve = advice.curve
    if curve is None or not advice.forecasts:
        return None
    first, last = float(curve.sizes[0]), float(advice.forecasts[-1].images)
    there = advice.forecasts[-1].images - advice.forecasts[-1].more
    sizes = np.geomspace(first, last, 40)
    accuracies = 1 - np.stack([curve.laws.at(size) for size in sizes])
    low, middle, high = np.quantile(accuracies, [0.025, 0.5, 0.975], axis=1)
    bottom, top = min(low.min(), 1 - curve.errors.max()), max(high.max(), 1 - curve.errors.min())
    span = max(top - bottom, 0.01)

    def x(size: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 10) * float(np.log(size / first) / np.log(last / first))

    def y(accuracy: float) -> float:
        return float(10 + (_HEIGHT - _BOTTOM - 10) * (1 - (accuracy - bottom) / span))

    def line(values: np.ndarray, of: Sequence[float]) -> str:
        return " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in zip(of, values.tolist(), strict=True))

    return {
        "width": _WIDTH, "height": _HEIGHT, "left": _LEFT, "base": _HEIGHT - _BOTTOM,
        "now": f"{x(float(there)):.1f}",
        "middle": line(middle, sizes.tolist()),
        "band": f"{line(low, sizes.tolist())} {line(high[::-1], sizes[::-1].tolist())}",
        "points": [(f"{x(size):.1f}", f"{y(1 - error):.1f}", size, percent(1 - error))
                   for size, error in zip(curve.sizes.tolist(), curve.errors.tolist(), strict=True)],
        "ends": (int(first), there, int(last)), "top": percent(top), "bottom": percent(bottom),
    }  # fmt: skip


def queue_sources(queries: Any) -> dict[str, PictureSource]:
    """Returns where the pictures of images that were searched for come from, by their names.

    Args:
        queries: `similarity.queries.Queries`.
    """
    images = queries.images
    if images is None:
        return {}
    return {
        query.name: picture_of(images, query.row, images.digests[query.row])
        for query in queries.items
        if query.row >= 0
    }

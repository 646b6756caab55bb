"""The display of advice in a notebook: the sentences, and the first images in question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featurebank.dataset.pictures import LIMIT_S, read_pictures
from featurebank.extraction.source_images import picture_sources
from featurebank.system.html import PICTURES, Pictures, picture, render
from featurebank.system.progress import no_advance
from featurebank.words import counted, percent

if TYPE_CHECKING:
    from featurebank.advice.result import Advice

_PIXELS = 144


def advice_html(advice: Advice) -> str:
    """Returns the display of notebooks."""
    facts = [counted(advice.images, "label") + " examined", f"tap {advice.tap}"]
    if advice.accuracy is not None:
        facts.append(f"{percent(advice.accuracy)} recognised")
    doubted = [(one.image, f"{one.image.label}: {one.suggested}?") for one in advice.label_errors[:PICTURES]]
    far = [(one.image, one.image.label) for one in advice.outliers[:PICTURES]]
    groups = {"labels that look wrong": doubted, "images that resemble no other": far}
    positions = [image.position for group in groups.values() for image, _ in group]
    sources = picture_sources(advice.bank, positions) if positions else []
    read = read_pictures(sources, [_PIXELS] * len(sources), limit_s=LIMIT_S, progress=no_advance)
    shown = iter(None if isinstance(one, str) else one for one in read)
    blocks = [
        Pictures([picture(next(shown), caption, image.id) for image, caption in group], title)
        for title, group in groups.items()
        if group
    ]
    return render(f"Advice on {advice.bank.name}", facts=facts, warnings=advice.sentences, blocks=blocks)

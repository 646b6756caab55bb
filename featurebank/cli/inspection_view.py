"""An inspection on the terminal: bars, quantiles, lists, and a few pictures if the terminal has colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from featurebank.cli import tables
from featurebank.inspection.advice import advise, number
from featurebank.inspection.stage import Inspection
from featurebank.inspection.survey import Distribution
from featurebank.system.drawing.text import printable
from featurebank.words import counted

_SHOWN = 10
_CLASSES = 40
_BAR, _SHORT_BAR = 40, 20
"""The longest bar on a wide and on a narrow terminal."""
_WIDE = 88
"""Columns of a terminal that has room for all bins of a distribution."""
_LOOK = {"train": ("█", "blue"), "val": ("▓", "yellow"), "test": ("░", "magenta")}
"""The character and the colour of each split: without colours the characters still differ."""
_TILE = 16
"""Width of a picture on the terminal in columns; each character shows two pixels, one above the other."""
_PICTURE_COLUMNS = 80
_PICTURE_CLASSES = 5


def print_inspection(inspection: Inspection, console: Console | None = None) -> None:
    """Prints an inspection for people; colours and pictures appear only on a terminal with colours."""
    console = console or tables.console()
    _print_line(
        console,
        f"{inspection.dataset}: {number(inspection.images, 'image')}, {counted(len(inspection.classes), 'class')}",
    )
    _print_counts(inspection, console)
    _print_sizes(inspection, console)
    _print_samples(inspection, console)
    _print_unreadable(inspection, console)
    _print_duplicates(inspection, console)
    _print_near(inspection, console)
    lines = advise(inspection)
    _print_line(console, "what to do:" if lines else "no problems found")
    for line in lines:
        _print_line(console, f"  - {line}")


def _print_line(console: Console, line: str) -> None:
    console.print(printable(line), markup=False, soft_wrap=True)


def _print_counts(inspection: Inspection, console: Console) -> None:
    totals = inspection.class_totals
    largest = max(1, *totals.values())
    table = tables.table(("class", "images", "", *inspection.splits), right=("images", *inspection.splits))
    shown = inspection.classes[:_CLASSES]
    others = max(map(len, ("class", *shown))) + sum(max(5, len(name)) for name in ("images", *inspection.splits))
    longest = min(_BAR, max(_SHORT_BAR, console.width - others - 3 * len(table.columns)))
    for name in shown:
        row = {split: inspection.counts[split][name] for split in inspection.splits}
        table.add_row(Text(printable(name)), str(totals[name]), _bar(row, largest, longest), *map(str, row.values()))
    table.add_section()
    everything = Text().join(_mark(split, f"{_LOOK[split][0]} {split}  ") for split in inspection.splits)
    table.add_row("all", str(sum(totals.values())), everything, *map(str, inspection.splits.values()))
    console.print(table)
    if len(inspection.classes) > _CLASSES:
        _print_line(
            console,
            f"and {counted(len(inspection.classes) - _CLASSES, 'more class', 'more classes')} (--json lists them all)",
        )


def _bar(row: Mapping[str, int], largest: int, longest: int) -> Text:
    """Returns a bar of one part per split; cumulative counts are rounded, so that errors do not add up."""
    bar, done, width = Text(), 0, 0
    for split, count in row.items():
        done += count
        end = round(longest * done / largest)
        bar.append(_mark(split, _LOOK[split][0] * (end - width)))
        width = end
    return bar


def _mark(split: str, text: str) -> Text:
    return Text(text, style=_LOOK[split][1])


def _print_sizes(inspection: Inspection, console: Console) -> None:
    if inspection.one_size:
        _print_line(console, f"sizes: all {inspection.one_size} pixels")
    else:
        _print_quantiles(inspection, console)
    turned = f"; {inspection.rotated} rotated by EXIF (applied)" if inspection.rotated else ""
    _print_line(console, f"formats: {_list(inspection.formats)}; pixels: {_list(inspection.modes)}{turned}")


def _print_quantiles(inspection: Inspection, console: Console) -> None:
    names = ("min", "p5", "median", "p95", "max")
    table = tables.table(("of the images", *names, "from min to max"), right=names)
    measures = {"width, px": inspection.sizes["width"], "height, px": inspection.sizes["height"]}
    for name, values in {**measures, "width / height": inspection.aspect_ratios}.items():
        table.add_row(name, *(f"{values.quantiles[q]:.4g}" for q in names), _sparkline(values, console.width))
    megapixels = inspection.sizes["megapixels"]
    table.add_row(
        "megapixels", *(f"{megapixels.quantiles[q]:.3g}" for q in names), _sparkline(megapixels, console.width)
    )
    console.print(table)


def _sparkline(values: Distribution, width: int) -> str:
    bins = list(values.counts)
    if width < _WIDE:
        bins = [sum(bins[place : place + 2]) for place in range(0, len(bins), 2)]
    most = max(bins, default=0)
    levels = " ▁▂▃▄▅▆▇█"
    # Rounded up, so that a bin with one image is visible.
    return "".join(levels[-(-8 * count // most)] for count in bins) if most else ""


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _print_unreadable(inspection: Inspection, console: Console) -> None:
    lines = [f"{entry.id}: {entry.reason}" for entry in inspection.unreadable]
    _print_list(f"{number(len(lines), 'image')} cannot be read", lines, len(lines), console)


def _print_duplicates(inspection: Inspection, console: Console) -> None:
    same = inspection.duplicates
    lines = []
    for group in same.groups[:_SHOWN]:
        flag = f"different {group.differ_in}: " if group.differ_in else ""
        names = [f"{i.id} ({i.label}, {i.split})" for i in group.images[:4]]
        more = f", and {len(group.images) - 4} more" if len(group.images) > len(names) else ""
        lines.append(flag + " = ".join(names) + more)
    head = f"{number(same.total, 'image')} found more than once ({counted(same.images, 'id')})"
    _print_list(head, lines, same.total, console)


def _print_near(inspection: Inspection, console: Console) -> None:
    near = inspection.near_duplicates
    if near is None:
        _print_line(
            console,
            "near duplicates: not searched, because this needs a bank: "
            f"featurebank extract --backbone efficientnet_lite0 --dataset {inspection.dataset}",
        )
        return
    lines = [
        f"{pair.cosine:.4f}  {pair.a.id} ({pair.a.label}, {pair.a.split})  ~  {pair.b.id} ({pair.b.label}, "
        f"{pair.b.split})"
        for pair in near.pairs[:_SHOWN]
    ]
    count = near.least + number(near.total, "near duplicate")
    head = f"{count} across splits (cosine of {near.tap} above {near.threshold:g}, bank {near.bank})"
    if lines:
        _print_list(head, lines, near.total, console)
    else:
        _print_line(
            console,
            f"no near duplicates across splits: {counted(near.compared, 'image')} compared by {near.tap} of "
            f"{near.bank}",
        )


def _print_list(head: str, lines: Sequence[str], total: int, console: Console) -> None:
    if not lines:
        return
    _print_line(console, f"{head}:")
    for line in lines[:_SHOWN]:
        _print_line(console, f"  {line}")
    if total > _SHOWN:
        _print_line(console, f"  and {total - _SHOWN} more (--json lists them, -o shows them)")


def _print_samples(inspection: Inspection, console: Console) -> None:
    """Draws a few images of the first classes with half blocks, each in the colours of two pixels."""
    if not (console.is_terminal and console.color_system and console.width >= _PICTURE_COLUMNS):
        return
    across = (console.width - 1) // (_TILE + 1)
    for name in inspection.classes[:_PICTURE_CLASSES]:
        tiles = [
            _tile(inspection.thumbnails[i])
            for i in inspection.samples.get(name, ())[:across]
            if i in inspection.thumbnails
        ]
        if tiles:
            console.print(Text(printable(name), style="bold"))
            grid = Table.grid(padding=(0, 1))
            grid.add_row(*tiles)
            console.print(grid)


def _tile(image: np.ndarray) -> Text:
    """Returns the central square of an image, scaled down by averaging pixels, as text.

    Args:
        image: (height, width, 3) uint8.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    starts = np.arange(_TILE) * side // _TILE
    sizes = np.maximum(np.diff(starts, append=side), 1)  # 1 if a small image is enlarged
    sums = image[top : top + side, left : left + side].astype(np.int64)
    for axis in (0, 1):
        sums = np.add.reduceat(sums, starts, axis=axis)
    pixels = (sums // np.multiply.outer(sizes, sizes)[:, :, np.newaxis]).tolist()
    tile = Text()
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for (a, b, c), (d, e, f) in zip(upper, lower, strict=True):
            tile.append("▀", style=f"rgb({a},{b},{c}) on rgb({d},{e},{f})")
        tile.append("\n")
    tile.right_crop(1)
    return tile

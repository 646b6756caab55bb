"""An inspection on the terminal: bars, quantiles, lists, and where there are colours a few pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from featurebank.cli import tables
from featurebank.cli.terminal import printable
from featurebank.inspection.advice import advise, number
from featurebank.inspection.stage import Inspection
from featurebank.inspection.survey import Distribution
from featurebank.words import counted

_SHOWN = 10
_CLASSES = 40
_BAR = 40
_LOOK = {"train": ("█", "blue"), "val": ("▓", "yellow"), "test": ("░", "magenta")}
"""The character and the colour of each split: one of both is seen wherever it is printed."""
_TILE = 16
"""Columns of a picture on the terminal; two pixels stand in a character, one above the other."""
_PICTURE_COLUMNS = 80
_PICTURE_CLASSES = 5


def print_inspection(found: Inspection, console: Console | None = None) -> None:
    """Prints an inspection for people; colours and pictures only on a terminal that has them."""
    console = console or tables.console()
    _say(console, f"{found.dataset}: {number(found.images, 'image')}, {counted(len(found.classes), 'class')}")
    _print_counts(found, console)
    _print_sizes(found, console)
    _print_samples(found, console)
    _print_unreadable(found, console)
    _print_duplicates(found, console)
    _print_near(found, console)
    lines = advise(found)
    _say(console, "what to do:" if lines else "nothing to mend")
    for line in lines:
        _say(console, f"  - {line}")


def _say(console: Console, line: str) -> None:
    console.print(printable(line), markup=False, soft_wrap=True)


def _print_counts(found: Inspection, console: Console) -> None:
    totals = found.class_totals
    largest = max(1, *totals.values())
    table = tables.table(("class", "images", "", *found.splits), right=("images", *found.splits))
    for name in found.classes[:_CLASSES]:
        row = {split: found.counts[split][name] for split in found.splits}
        table.add_row(Text(printable(name)), str(totals[name]), _bar(row, largest), *map(str, row.values()))
    table.add_section()
    everything = Text().join(_mark(split, f"{_LOOK[split][0]} {split}  ") for split in found.splits)
    table.add_row("all", str(sum(totals.values())), everything, *map(str, found.splits.values()))
    console.print(table)
    if len(found.classes) > _CLASSES:
        _say(
            console,
            f"and {counted(len(found.classes) - _CLASSES, 'more class', 'more classes')} (--json lists them all)",
        )


def _bar(row: Mapping[str, int], largest: int) -> Text:
    """Returns a bar whose parts end where their sums end, so that rounding never adds up."""
    bar, done, drawn = Text(), 0, 0
    for split, count in row.items():
        done += count
        end = round(_BAR * done / largest)
        bar.append(_mark(split, _LOOK[split][0] * (end - drawn)))
        drawn = end
    return bar


def _mark(split: str, text: str) -> Text:
    return Text(text, style=_LOOK[split][1])


def _print_sizes(found: Inspection, console: Console) -> None:
    if found.one_size:
        _say(console, f"sizes: all {found.one_size} pixels")
    else:
        _print_quantiles(found, console)
    turned = f"; {found.rotated} rotated by EXIF (applied)" if found.rotated else ""
    _say(console, f"formats: {_list(found.formats)}; pixels: {_list(found.modes)}{turned}")


def _print_quantiles(found: Inspection, console: Console) -> None:
    names = ("min", "p5", "median", "p95", "max")
    table = tables.table(("of the images", *names, "from min to max"), right=names)
    measures = {"width, px": found.sizes["width"], "height, px": found.sizes["height"]}
    for name, values in {**measures, "width / height": found.aspect_ratios}.items():
        table.add_row(name, *(f"{values.quantiles[q]:.4g}" for q in names), _sparkline(values))
    megapixels = found.sizes["megapixels"]
    table.add_row("megapixels", *(f"{megapixels.quantiles[q]:.3g}" for q in names), _sparkline(megapixels))
    console.print(table)


def _sparkline(values: Distribution) -> str:
    most = max(values.counts, default=0)
    levels = " ▁▂▃▄▅▆▇█"
    # Rounded up: a bin with one image is seen.
    return "".join(levels[-(-8 * count // most)] for count in values.counts) if most else ""


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _print_unreadable(found: Inspection, console: Console) -> None:
    lines = [f"{entry.id}: {entry.reason}" for entry in found.unreadable]
    _print_list(f"{number(len(lines), 'image')} cannot be read", lines, len(lines), console)


def _print_duplicates(found: Inspection, console: Console) -> None:
    same = found.duplicates
    lines = []
    for group in same.groups[:_SHOWN]:
        flag = f"different {group.differ_in}: " if group.differ_in else ""
        names = [f"{i.id} ({i.label}, {i.split})" for i in group.images[:4]]
        more = f", and {len(group.images) - 4} more" if len(group.images) > len(names) else ""
        lines.append(flag + " = ".join(names) + more)
    head = f"{number(same.total, 'image')} found more than once ({counted(same.images, 'id')})"
    _print_list(head, lines, same.total, console)


def _print_near(found: Inspection, console: Console) -> None:
    near = found.near_duplicates
    if near is None:
        _say(
            console,
            "near duplicates: not looked for, they need a bank: "
            f"featurebank extract --backbone efficientnet_lite0 --dataset {found.dataset}",
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
        _say(
            console,
            f"no near duplicates across splits: {counted(near.compared, 'image')} compared by {near.tap} of "
            f"{near.bank}",
        )


def _print_list(head: str, lines: Sequence[str], total: int, console: Console) -> None:
    if not lines:
        return
    _say(console, f"{head}:")
    for line in lines[:_SHOWN]:
        _say(console, f"  {line}")
    if total > _SHOWN:
        _say(console, f"  and {total - _SHOWN} more (--json lists them, -o shows them)")


def _print_samples(found: Inspection, console: Console) -> None:
    """Draws a few images of the first classes with half blocks: the upper pixel's colour on the lower one's."""
    if not (console.is_terminal and console.color_system and console.width >= _PICTURE_COLUMNS):
        return
    across = (console.width - 1) // (_TILE + 1)
    for name in found.classes[:_PICTURE_CLASSES]:
        tiles = [_tile(found.thumbnails[i]) for i in found.samples.get(name, ())[:across] if i in found.thumbnails]
        if tiles:
            console.print(Text(printable(name), style="bold"))
            grid = Table.grid(padding=(0, 1))
            grid.add_row(*tiles)
            console.print(grid)


def _tile(image: np.ndarray) -> Text:
    """Returns the central square of an image as text; each of its pixels is the mean of those in its place."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    starts = np.arange(_TILE) * side // _TILE
    sizes = np.maximum(np.diff(starts, append=side), 1)  # one where a small image is enlarged
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

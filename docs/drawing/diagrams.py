"""The drawings that explain featurebank; each is a function of a palette."""

from __future__ import annotations

from collections.abc import Callable

from .canvas import Canvas, Palette

WIDTH = 640
BLOCKS = 5
"""Of the network that is drawn."""


def pipeline(palette: Palette) -> Canvas:
    """Draws the way from photos to a model file."""
    canvas = Canvas(
        WIDTH, 330,
        "Photos go once through a frozen network into a bank; hundreds of heads are trained on the bank; the best head"
        " and the network become one model file.",
        palette,
    )  # fmt: skip
    canvas.stack(20, 44, 120, 92, "photos", "yours")
    canvas.arrow((156, 90), (216, 90))
    canvas.box(220, 44, 170, 92, "frozen network", "runs once", fill="frozen")
    canvas.arrow((392, 90), (456, 90))
    canvas.stack(460, 44, 150, 92, "bank", "features on disk", fill="stored")
    canvas.text(305, 24, "minutes", soft=True, size=14)
    canvas.arrow((535, 138), (535, 206))
    for column in range(6):
        for row in range(2):
            canvas.box(440 + column * 32, 210 + row * 32, 26, 26, fill="trained")
    canvas.text(533, 292, "hundreds of heads", bold=True)
    canvas.text(533, 312, "seconds", soft=True, size=14)
    canvas.arrow((432, 240), (366, 240))
    canvas.text(399, 228, "best", soft=True, size=14)
    canvas.box(192, 200, 170, 84, "one model file", "for any program")
    canvas.arrow((280, 138), (280, 196), dashed=True)
    canvas.arrow((190, 240), (150, 240))
    canvas.box(20, 206, 126, 72, "predictions", "for new photos")
    return canvas


def bank(palette: Palette) -> Canvas:
    """Draws what is in the directory of a bank."""
    canvas = Canvas(
        WIDTH, 440,
        "The directory of a bank: the manifest lists the table of images and the shards; a shard is an HDF5 file with"
        " digests and one array for each tap; runs are trained heads.",
        palette,
    )  # fmt: skip
    canvas.box(8, 8, 624, 424)
    canvas.text(24, 34, "cache/photos-lite0-224px-d4abc35cff25/", mono=True, anchor="start", size=15)
    canvas.box(24, 56, 190, 74, "manifest.json", "lists what exists", fill="stored")
    canvas.arrow((216, 80), (272, 80))
    canvas.box(276, 56, 340, 74, "items-….page", "image: digest, path, label, split", fill="stored")
    canvas.box(36, 178, 580, 134, fill="stored")
    canvas.box(24, 190, 580, 134, fill="stored")
    canvas.arrow((119, 132), (119, 176))
    canvas.text(40, 214, "shard-….h5", bold=True, anchor="start")
    canvas.text(588, 214, "HDF5, never changed after writing", anchor="end", soft=True, size=14)
    for x, width, name, kind in (
        (40, 140, "digest", "which image"), (188, 92, "view", "0 is clean"),
        (288, 150, "taps/pooled", "1280 float32"), (446, 146, "taps/map", "7 x 7 x 1280"),
    ):  # fmt: skip
        canvas.box(x, 226, width, 52, name, kind, size=15)
        for row in range(3):
            canvas.line((x + 6, 286 + row * 11), (x + width - 6, 286 + row * 11))
    canvas.box(24, 346, 280, 70, "runs/3d31e4e363.json", "a trained head and its metrics", fill="trained")
    canvas.box(324, 346, 292, 70, "runs/3d31e4e363.head", "its weights, of the best", fill="trained")
    return canvas


def tail(palette: Palette) -> Canvas:
    """Draws what is stored and what is trained: by a head, a tail and a fine-tune."""
    canvas = Canvas(
        WIDTH, 360,
        "Three rows of the same network of five blocks. A head: all blocks ran once, only the classifier is trained. A"
        " tail: the first three blocks ran once, the last two and the classifier are trained. A fine-tune: everything"
        " is trained, from the images.",
        palette,
    )  # fmt: skip
    rows = (("head", BLOCKS, "seconds"), ("tail", 3, "minutes"), ("fine-tune", 0, "hours"))
    for number, (kind, cut, time) in enumerate(rows):
        y = 36 + number * 100
        canvas.text(12, y + 26, kind, bold=True, anchor="start")
        canvas.text(12, y + 46, time, soft=True, anchor="start", size=14)
        x = 110.0
        for block in range(BLOCKS + 1):
            last = block == BLOCKS
            if block == cut:
                canvas.line((x + 5, y - 12), (x + 5, y + 76), strong=True)
                canvas.text(x + 5, y - 18, "images" if cut == 0 else "bank", size=14, bold=True)
                x += 18
            width = 120 if last else 72
            name = "classifier" if last else f"block {block + 1}"
            canvas.box(x, y, width, 64, name, fill="frozen" if block < cut else "trained", size=15)
            x += width + 4
    canvas.box(110, 330, 22, 22, fill="frozen")
    canvas.text(140, 347, "ran once, frozen", anchor="start", size=14)
    canvas.box(290, 330, 22, 22, fill="trained")
    canvas.text(320, 347, "trained in every epoch", anchor="start", size=14)
    return canvas


def joined(palette: Palette) -> Canvas:
    """Draws how heads share the product of the features with their first kernels."""
    canvas = Canvas(
        WIDTH, 320,
        "A batch of features is multiplied once by the kernels of all heads side by side; each head has its own loss,"
        " its own gradient and its own optimizer.",
        palette,
    )  # fmt: skip
    canvas.box(10, 70, 120, 150, "features", "of a batch", fill="stored")
    canvas.text(152, 152, "\N{MULTIPLICATION SIGN}", size=24)
    for number, name in enumerate(("head 1", "head 2", "…", "head K")):
        x = 174 + number * 80
        canvas.box(x, 70, 72, 150, name, fill="trained")
        canvas.arrow((x + 36, 222), (x + 36, 254))
        canvas.box(x, 258, 72, 44, "loss" if name != "…" else "…", size=15)
    canvas.text(330, 46, "kernels side by side: one product", bold=True)
    canvas.text(70, 46, "read once", soft=True, size=14)
    canvas.text(564, 150, "each with its", soft=True, size=14)
    canvas.text(564, 170, "rate, decay,", soft=True, size=14)
    canvas.text(564, 190, "stopping", soft=True, size=14)
    return canvas


def content(palette: Palette) -> Canvas:
    """Draws from what the name of a row and of a bank follows."""
    canvas = Canvas(
        WIDTH, 300,
        "The bytes of an image give its digest, the weights, preprocessing, size and precision give the key of the"
        " bank; digest and key together name a row of features.",
        palette,
    )  # fmt: skip
    canvas.box(20, 30, 210, 84, "bytes of an image", "not its name or folder")
    canvas.arrow((232, 72), (286, 72))
    canvas.box(290, 30, 130, 84, "digest", "names the row", fill="stored")
    canvas.box(20, 140, 210, 140)
    for number, line in enumerate(("weights", "preprocessing", "image size, resize", "precision, views")):
        canvas.text(125, 170 + number * 28, line)
    canvas.arrow((232, 210), (286, 210))
    canvas.box(290, 168, 130, 84, "key", "names the bank", fill="stored")
    canvas.arrow((422, 72), (492, 72), (492, 112))
    canvas.arrow((422, 210), (492, 210), (492, 178))
    canvas.box(448, 116, 172, 58, "row of features", fill="stored")
    return canvas


DRAWINGS: dict[str, Callable[[Palette], Canvas]] = {
    "pipeline": pipeline, "bank": bank, "tail": tail, "joined": joined, "content": content,
}  # fmt: skip
"""The drawings by the names of their files."""

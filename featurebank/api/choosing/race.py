"""The public function that races backbones against each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

from featurebank.api.arguments.checks import Accepts, checked
from featurebank.api.arguments.data import DatasetLike, ImageSize, PathLike, as_cache, as_dataset, is_path
from featurebank.api.arguments.heads import GridLike, as_grid
from featurebank.api.display import Shown, showing
from featurebank.api.run import Run
from featurebank.backbone import Backbone, BackboneOptions
from featurebank.backbone.options import as_side
from featurebank.racing import Race, RaceOptions, run_race
from featurebank.racing.options import SHARE
from featurebank.runs.leaderboard import Leaderboard
from featurebank.system.progress import Reporter

__all__ = ["Race", "race"]


def _are_backbones(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, Backbone) or is_path(one) for one in value)


BackbonesLike: TypeAlias = Annotated[
    Sequence[Backbone | str | os.PathLike[str]], Accepts(_are_backbones),
    "a list of backbones or their names, as ['resnet50', 'resnet50@random:0']",
]  # fmt: skip


@checked
def race(
    dataset: DatasetLike,
    backbones: BackbonesLike,
    *,
    tap: str = "pooled",
    grid: GridLike = "default",
    metric: str = "accuracy",
    budget: float | None = None,
    share: float = SHARE,
    part: int | None = None,
    weights: str | None = None,
    image_size: ImageSize | None = None,
    preprocessing: str | None = None,
    resize: str | None = None,
    levels: str | None = None,
    cache: PathLike | None = None,
    engine: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int = 32,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> Race:
    """Finds the best of several backbones without extracting the whole dataset with each of them.

    Each round extracts a part of the training images with the candidates that are left, and scores each of them by the
    leave-one-out predictions of ridge regression. Candidates that are clearly worse leave, and larger parts compare the
    others, until one is left or the rounds have used their share of the images. The dataset is then extracted with the
    survivors, and a grid of heads is trained on them. Everything stays in the cache: a stopped race continues where it
    stopped, and a second one computes nothing.

    Args:
        dataset: the images, as for `extract`.
        backbones: two or more networks, or texts: a name as for `load_backbone`, and if needed the weights and the
            image size of this candidate, as "resnet50@random:0", "resnet50@my.weights.h5" or "resnet50@160px".
        tap: the features by which the candidates are compared, and on which heads are trained.
        grid: the heads that are trained for the survivors, as for `train_heads`: the name of a built-in grid, the path
            of a grid file, a head or a list of heads.
        metric: what heads are ranked by, as for `select`.
        budget: the time for everything in seconds. When it ends, the result says what is unfinished.
        share: the rounds compute at most this part of the images that an extraction with all backbones would compute.
        part: the number of training images in the first part; default: a twentieth of the images, at most 1000.
        weights: of all backbones that name none, as for `load_backbone`; the next four, too.
        image_size: the side of the input in pixels.
        preprocessing: that of networks of your own that declare none.
        resize: how images become square.
        levels: the range of grey images of more than eight bits.
        cache: directory of the banks; default `$FEATUREBANK_CACHE`, else `./cache`.
        engine: "auto" or the name of an engine.
        precision: the number type of the networks' arithmetic.
        batch_size: number of images per batch.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        The result: `winner` is a name, `bank` its bank, `chosen` its best run and `runs` all of them, best first.
        `interval` is the 95 % interval of the winner, corrected for the choice among many.

    Raises:
        ConfigError: a backbone is unknown or occurs twice, there is only one, or an option is wrong.
        DatasetError: the dataset is too small for a part, or has no validation images. The message has all problems
            with the request, and nothing was started.
        HeadError: the budget is too short for the first round, or every head failed.

    Example:
        >>> found = race("photos", ["my_networks:small", "my_networks:small@random:1"], grid="quick", part=12)
        >>> found.chosen.bank_name == found.bank.name, len(found.rounds[0])
        (True, 2)
    """
    options = RaceOptions(
        tap=tap, grid=as_grid(grid), metric=metric, budget=budget, share=share, part=part, engine=engine,
        precision=precision, batch_size=batch_size,
    )  # fmt: skip
    network = BackboneOptions(
        weights=weights, image_size=as_side(image_size), preprocessing=preprocessing, resize=resize, levels=levels
    )
    names = [one if isinstance(one, Backbone) else os.fspath(one) for one in backbones]
    with showing(progress, reporter) as shown:
        found = run_race(as_dataset(dataset), names, options, network, cache=as_cache(cache), reporter=shown)
    runs = Leaderboard(map(Run.of, found.runs))
    return replace(found, runs=runs, chosen=None if found.chosen is None else Run.of(found.chosen))

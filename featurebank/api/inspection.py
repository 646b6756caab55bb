"""The public function that inspects a dataset."""

from __future__ import annotations

from featurebank.api.arguments.banks import BankLike, as_bank
from featurebank.api.arguments.checks import checked
from featurebank.api.arguments.data import DatasetLike, ImageSize, as_dataset
from featurebank.api.display import Shown, showing
from featurebank.augment import Augmentation
from featurebank.backbone.options import as_side
from featurebank.inspection.near_duplicates import NEAR
from featurebank.inspection.stage import Inspection, InspectOptions, run_inspection
from featurebank.system.progress import Reporter

__all__ = ["Inspection", "inspect_dataset"]


@checked
def inspect_dataset(
    dataset: DatasetLike,
    *,
    bank: BankLike | None = None,
    augmentation: Augmentation | str | None = None,
    views: int = 4,
    image_size: ImageSize = 224,
    resize: str | None = None,
    levels: str | None = None,
    sample: int = 8,
    near: float = NEAR,
    seed: int = 0,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> Inspection:
    """Inspects a dataset: decodes every image once, counts, and looks for duplicates.

    Args:
        dataset: the images, as for `extract`; all are decoded, a few at a time.
        bank: features of this dataset, to detect nearly identical images in different splits;
            `featurebank.inspection.near_duplicates.bank_of` finds it. One copy of the tap is held in memory.
        augmentation: the augmentation of which some views are shown, as "flip,rotate=10".
        views: number of augmented views per image.
        image_size: the side in pixels to which images are resized before the augmentation.
        resize: how images become square; see `featurebank.load_backbone`.
        levels: the range of grey images of more than eight bits; see `featurebank.load_backbone`.
        sample: number of images of each class to show (fewer if there are many classes).
        near: the cosine above which two images are near duplicates.
        seed: seed of the choice of shown images.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Raises:
        ConfigError: an option is wrong.
        BankError: the bank cannot be read.

    Example:
        >>> report = inspect_dataset(fb.load_dataset("digits", limit=60))
        >>> report.images, report.one_size, len(report.unreadable)
        (60, '8 x 8', 0)
    """
    options = InspectOptions(
        views=views, image_size=as_side(image_size) or 0, resize=resize, levels=levels, sample=sample, near=near,
        seed=seed,
    )  # fmt: skip
    views_of = Augmentation.parse(augmentation) if isinstance(augmentation, str) else augmentation
    with showing(progress, reporter) as shown:
        images = as_dataset(dataset)
        known = None if bank is None else as_bank(bank, "inspect", reporter=shown)
        return run_inspection(images, options, bank=known, augmentation=views_of, reporter=shown)

"""The public form of a run: its record, and everything that can be asked of its head."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.api.curves import Curves
from featurebank.api.display import showing
from featurebank.api.inputs import as_features, as_images, features_of
from featurebank.api.predictions import ConfusionMatrix, Predictions
from featurebank.bank import Bank
from featurebank.dataset import Dataset
from featurebank.dataset.splits import UNLABELLED
from featurebank.errors import DatasetError, FeatureBankError, HeadError
from featurebank.fitting.joined.rows import feature_rows
from featurebank.grafting import ExportOptions, LoadedModel, run_export
from featurebank.grafting.certainty.embedding import batch_function
from featurebank.grafting.prediction import run_images
from featurebank.grafting.stage import about_finetuned
from featurebank.runs.display import run_html
from featurebank.runs.plots import PlottedRun
from featurebank.runs.probabilities import check_opened, load_fitted, positions_of, predictor
from featurebank.runs.refitting import check_head, keep_weights, refitted_head, saved_head
from featurebank.runs.run import RunRecord, belongs, read_run
from featurebank.system.html import never_fails


class Run(PlottedRun):
    """One trained head, or one fine-tuned network: its record, its predictions, and its model.

    `train_heads`, `select`, `leaderboard`, `evaluate_test` and `finetune` return runs. The attributes are those of the
    record: `run` is the id, `head` the kind, `params` a dictionary of its parameters, `tap`, `seed`, `seconds` of
    training, and `metrics`, a dictionary of "train" and "val" (and "test", once tested), each with "accuracy", "loss"
    and "macro_f1".

    What a head is asked needs its weights. They are kept for the best run of a bank and for tested runs; the head of
    any other run is trained again when it is first asked, which is announced together with its duration.

    Example:
        >>> run = fb.select(fb.train_heads(bank, ["ridge", "nearest_mean"]))
        >>> run
        <Run 662db451f6: nearest_mean on pooled, seed 0, validation accuracy 0.7667>
        >>> run.params["metric"], round(run.metrics["val"]["loss"], 2)
        ('euclidean', 0.93)
        >>> run.predict(bank.features("pooled", "val"))[:3]
        array(['class1', 'class1', 'class2'], dtype='<U6')
    """

    history: Curves

    def __init__(self, *values: Any, **fields_by_name: Any) -> None:
        super().__init__(*values, **fields_by_name)
        object.__setattr__(self, "params", dict(self.params))
        object.__setattr__(self, "history", Curves.of(self.head, self.history))

    @classmethod
    def of(cls, record: RunRecord) -> Run:
        """Returns the public form of a record; a `Run` is returned unchanged.

        Example:
            >>> results = {"val": {"accuracy": 0.9}}
            >>> Run.of(RunRecord("0123456789", "svm", {}, "pooled", 0, 0.1, results, bank="", created=""))
            <Run 0123456789: svm on pooled, seed 0, validation accuracy 0.9000>
        """
        if isinstance(record, cls):
            return record
        return cls(**{one.name: getattr(record, one.name) for one in fields(record)})

    def __eq__(self, other: object) -> bool:
        return self.record() == other.record() if isinstance(other, RunRecord) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.run)

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # not the head: it may be large

    def record(self) -> dict[str, Any]:
        """Returns the whole run as JSON values."""
        history = self.history.recorded
        return {**super().record(), "history": None if history is None else dict(history)}

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks; trains and predicts nothing."""
        try:
            bank: Bank | None = Bank(self.directory)
        except (FeatureBankError, OSError):
            bank = None
        return run_html(self, bank if bank and belongs(self, bank) else None)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of `predict_proba`.

        Raises:
            BankError: the bank of the run is gone or damaged.
        """
        return Bank(self.directory).classes

    def load(self) -> Any:
        """Returns the fitted head, which follows scikit-learn's contract; of a fine-tune, its Keras model.

        The head takes features (n, ...) float32 of its tap, as from `Bank.features`, and its labels are indices into
        `classes`. The model takes images (n, s, s, 3) RGB from 0 to 255 and returns probabilities.

        Raises:
            HeadError: the run failed, is cross-validated (trained on folds alone), or belongs to an earlier state of
                its bank; or the head cannot be trained again; or the model of a fine-tune is gone.
            BankError: the bank of the run is gone or damaged.

        Example:
            >>> head = run.load()
            >>> head, head.predict(bank.features("pooled", "val"))[:3]
            (NearestMeanHead(), array([1, 1, 2]...))
        """
        if self.fold:
            load_fitted(Bank(self.directory), self)  # raises the error of a cross-validated run
        return self._fitted

    @cached_property
    def _fitted(self) -> Any:
        """The head or the model, loaded once; of a cross-validated run, the head of its fold."""
        bank = Bank(self.directory)
        with showing() as reporter:
            if self.fold:
                check_head(bank, self)
                return refitted_head(bank, self, reporter=reporter)
            return load_fitted(bank, self, reporter=reporter)

    def refit(self) -> Run:
        """Trains the head again and keeps its weights, so that later calls and sessions load them.

        The expected duration is announced. Nothing is trained if the weights are there. They stay until a later grid on
        the bank finds a better head: of untested runs, the bank keeps the weights of the best one alone.

        Returns:
            The run, with `weights`.

        Raises:
            HeadError: see `load`; or the head is of a class that cannot be restored safely.
            OSError: the weights cannot be written.
        """
        if self.is_finetune or saved_head(self) is not None:
            self.load()
            return self
        head = self.load()
        run = Run.of(keep_weights(self, head))
        run.__dict__["_fitted"] = head
        return run

    def predict(self, x: Any, batch_size: int = 32) -> np.ndarray:
        """Returns the most probable class of each image: (n,) names.

        Args:
            x: see `predict_proba`.
            batch_size: the number of images per batch, if `x` holds images.

        Raises:
            DatasetError, HeadError: see `predict_proba`.

        Example:
            >>> run = fb.train_heads(fb.extract("photos", "my_networks:small"), "logistic")[0]
            >>> run.predict(["photos/rose/1.jpg", "photos/tulip/1.jpg"])
            array(['rose', 'tulip'], dtype='<U5')
        """
        probabilities = self.predict_proba(x, batch_size)
        return np.asarray(np.array(self.classes)[probabilities.argmax(axis=1)])

    def predict_proba(self, x: Any, batch_size: int = 32) -> np.ndarray:
        """Returns probabilities (n, classes), in the order of `classes`.

        Images are read, resized and turned into features exactly as those of the bank, and their features are kept in
        the cache, so that a second call computes nothing.

        Args:
            x: the path of an image or of a folder (all images in it, in the order of their sorted paths); a list of
                paths, or a table with a column `path` and the columns of metadata that a joined tap has; images
                (n, h, w, 3) or (n, h, w) uint8, or a list of arrays or of images of Pillow; a `Dataset`; or features,
                (n, ...) float, as from `Bank.features`, except for a fine-tune.
            batch_size: the number of images per batch, if `x` holds images.

        Raises:
            DatasetError: `x` is none of these, an image cannot be read, or features are of another tap.
            HeadError: see `load`.
            WeightsError: the network of the bank cannot be loaded again.
        """
        from featurebank.fitting.scoring import align

        bank = Bank(self.directory)
        if self.is_finetune:
            if as_features(x, feature_rows(bank, self.tap).tap_shape(self.tap), self.tap) is not None:
                message = f"run {self.run} is a fine-tune, which takes images: pass paths or images, not features"
                raise HeadError(message)
            return self._of_images(bank, as_images(x, UNLABELLED), batch_size)
        with showing() as reporter:
            features = features_of(x, bank, self, self.load, batch_size=batch_size, reporter=reporter)
        head = self.load()
        return align(head.predict_proba(features), head.classes_, len(bank.classes))

    def _of_images(self, bank: Bank, images: Dataset, batch_size: int) -> np.ndarray:
        """Returns the probabilities of a fine-tuned network, (n, classes)."""
        model = LoadedModel(batch_function(self.load()), about_finetuned(bank, self))
        rows, everything = [], range(len(images))
        with showing() as reporter:
            answers = run_images(model, images.image, everything, "predict", batch_size=batch_size, reporter=reporter)
            for index, answer in answers:
                if isinstance(answer, str):
                    message = f"image '{images.ids[index]}' cannot be read: {answer}"
                    raise DatasetError(message)
                rows.append(answer.probabilities[0])
        return np.stack(rows).astype(np.float64)

    def predictions(self, split: str = "val") -> Predictions:
        """Returns what the run predicts for each image of a split, as a table.

        Of a cross-validated run, "val" is its fold: images that its head was not trained on.

        Args:
            split: "train", "val", or "test" for a run that `evaluate_test` returned.

        Raises:
            ConfigError: the test images are still closed for this run.
            UnknownNameError: there is no such split.
            DatasetError: the split has no images; or, of a fine-tune, images have gone or changed.
            HeadError: see `load`.

        Example:
            >>> run.predictions()[:2]
            <Predictions of run 662db451f6 on val: 2 images, accuracy 1.0000>
            id      label   predicted  probability
            76.png  class1  class1     0.4248
            88.png  class1  class1     0.4125
        """
        bank = Bank(self.directory)
        positions = positions_of(bank, self, split)
        check_opened(read_run(self.directory / "runs" / f"{self.run}.json") or self, split)
        with showing() as reporter:
            probabilities = predictor(bank, self, split, self._fitted, reporter=reporter)()
        return Predictions.of(bank, positions, probabilities, f"run {self.run} on {split}")

    def mistakes(self, split: str = "val") -> Predictions:
        """Returns the wrong predictions for a split, the most confident first, with the paths of the images.

        Args:
            split: see `predictions`, also for errors.

        Example:
            >>> run.mistakes()[0]
            PredictedImage(id='89.png', label='class2', predicted='class0', probability=0.42..., path=None)
        """
        return self.predictions(split).mistakes()

    def confusion_matrix(self, split: str = "val") -> ConfusionMatrix:
        """Returns the number of images of each class that are predicted as each class.

        Args:
            split: see `predictions`, also for errors.

        Example:
            >>> run.confusion_matrix()
            true / predicted  class0  class1  class2
            class0                 7       2       1
            class1                 0       9       1
            class2                 2       1       7
        """
        return self.predictions(split).confusion_matrix()

    def export(
        self, path: str | Path, *, format: str | None = None, proof: bool = True, with_resize: bool = False,
        certainty: bool = True, seen: bool = True) -> Path:  # fmt: skip
        """Writes one model file, from images to probabilities.

        Args:
            path: the file, as "flowers.keras"; its suffix determines the format. See `featurebank.export`, also for the
                other arguments and the errors.
            format: the format, if the suffix does not tell.
            proof: whether to compare the model with the head on images of the bank.
            with_resize: whether the model resizes images itself.
            certainty: whether the file can say when it is not sure.
            seen: whether the file knows which images the model was trained on and chosen by.

        Returns:
            The path.

        Example:
            >>> run = fb.train_heads(fb.extract("photos", "my_networks:small"), "logistic")[0]
            >>> run.export("flowers.keras", with_resize=True)
            PosixPath('flowers.keras')
        """
        options = ExportOptions(format=format, proof=proof, with_resize=with_resize, certainty=certainty, seen=seen)
        with showing() as reporter:
            return run_export(self, Path(path), options, reporter=reporter)

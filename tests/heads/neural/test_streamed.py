"""Heads that are trained block by block from a bank are those trained in memory on the same batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from featurebank.bank import Bank
from featurebank.errors import BankDamagedError, HeadError
from featurebank.heads.neural import streamed
from featurebank.heads.neural.base import NeuralHead
from featurebank.heads.neural.mlp import MLPHead
from featurebank.heads.neural.network import DenseData, DenseNetwork
from featurebank.heads.neural.softmax import SoftmaxHead
from featurebank.heads.neural.streamed import StreamedData
from featurebank.heads.neural.together import train_together
from featurebank.heads.streamed import progress, vectors
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.system.progress import Reporter, shown_by
from featurebank.training.batches import Batches, padded
from featurebank.training.loop import between_epochs
from featurebank.training.programs import dense_blocks

pytestmark = pytest.mark.heavy

D, BATCH, BLOCK = 6, 16, 4
"""Features, images a batch, and batches a block: 180 training images are in three blocks, the last batch is padded."""


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "_BLOCK_BYTES", 4 * D * BATCH * BLOCK)


def stored(bank: Bank, split: str, views: int = 1) -> StoredVectors:
    return StoredVectors(bank, "pooled", np.flatnonzero(bank.splits() == split), views)


def train(heads: list[NeuralHead], bank: Bank, views: int = 1, **more: Any) -> list[str | None]:
    validation = stored(bank, "val"), bank.labels("val")
    return train_together(heads, stored(bank, "train", views), bank.labels("train"), validation, **more)


def train_in_memory(heads: list[NeuralHead], bank: Bank, views: int = 1, **more: Any) -> list[str | None]:
    """Trains heads in memory, on the batches in the order of the blocks."""
    train_rows = stored(bank, "train", views)

    def parts(self: DenseNetwork, size: int, rng: np.random.Generator, epoch: int) -> Iterator[Batches]:
        blocks = train_rows.groups(self._first.random_state, epoch, block_bytes=4 * D * size * BLOCK)
        yield padded(np.concatenate(list(blocks)).astype(np.int32), size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DenseNetwork, "parts", parts)
        clean, *others = train_rows.read()
        validation = bank.features("pooled", "val"), bank.labels("val")
        return train_together(heads, clean, bank.labels("train"), validation, views=others, **more)


def check_equal(heads: list[NeuralHead], others: list[NeuralHead]) -> None:
    """Weights are equal up to rounding: XLA may order sums by the sizes of arrays. Losses are summed in any case."""
    for head, other in zip(heads, others, strict=True):
        for layer, expected in zip(head.layers_, other.layers_, strict=True):
            np.testing.assert_allclose(layer.kernel, expected.kernel, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(layer.bias, expected.bias, rtol=1e-5, atol=1e-6)
        history, reference = head.history_.to_dict(), other.history_.to_dict()
        assert history["learning_rate"] == reference["learning_rate"]
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            np.testing.assert_allclose(history[name], reference[name], rtol=1e-5)


CASES: dict[str, tuple[type[NeuralHead], int, list[dict[str, Any]]]] = {
    "softmax": (
        SoftmaxHead,
        0,
        [
            {"schedule": "inverse_time", "decay": 0.05, "l1": 1e-3, "dropout": 0.2},
            {"schedule": "plateau", "plateau_patience": 1, "plateau_factor": 0.3, "class_weight": "balanced"},
            {"schedule": "cosine", "warmup": 1.5, "label_smoothing": 0.1, "monitor": "val_accuracy", "patience": 2},
        ],
    ),
    "mlp": (
        MLPHead,
        1,
        [
            {"hidden_units": 8, "batch_norm": True, "dropout": 0.3, "optimizer": "adamw", "max_norm": 2.0},
            {"hidden_units": 8, "batch_norm": True, "optimizer": "adamw", "max_norm": 1.0, "epochs": 3},
        ],
    ),
}
"""A class, the number of augmented views, and the options of heads of one program."""


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.xla] * (case == "mlp")) for case in CASES])
def test_blocks_give_the_head_that_memory_gives(vector_bank: Callable[..., Bank], case: str) -> None:
    kind, views, options = CASES[case]
    bank = vector_bank(dtype="float16", views=views)
    heads, others = (
        [kind(**{"epochs": 5, "learning_rate": 0.02, **each}, batch_size=BATCH, random_state=3) for each in options]
        for _ in range(2)
    )
    assert train(heads, bank, 1 + views) == train_in_memory(others, bank, 1 + views) == [None] * len(heads)
    check_equal(heads, others)


@pytest.mark.xla
def test_kernels_in_blocks_of_columns(vector_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_blocks, "_SMALL", 10)
    monkeypatch.setattr(dense_blocks, "_WEIGHTS", 4 * D)  # two blocks
    heads, others = ([MLPHead(hidden_units=8, epochs=2, batch_size=BATCH)] for _ in range(2))
    train(heads, vector_bank())
    train_in_memory(others, vector_bank())
    check_equal(heads, others)


def test_standardized_features(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank(offset=100.0)
    heads, others = ([SoftmaxHead(epochs=3, batch_size=BATCH, standardize=True)] for _ in range(2))
    train(heads, bank)
    train_in_memory(others, bank)
    check_equal(heads, others)


def test_mean_and_deviation_in_one_pass(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank(offset=1e3)
    X, y = stored(bank, "train"), bank.labels("train")
    found = StreamedData.of(X, y, None).statistics(standardize=True)
    expected = DenseData.of(np.asarray(X), y, None).statistics(standardize=True)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_only_the_validation_images_are_in_the_bank(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()
    X, y = bank.features("pooled", "train"), bank.labels("train")
    head = SoftmaxHead(epochs=20, batch_size=BATCH, learning_rate=0.05)
    assert train_together([head], X, y, (stored(bank, "val"), bank.labels("val"))) == [None]
    accuracy = (head.predict(bank.features("pooled", "val")) == bank.labels("val")).mean()
    assert head.history_.val_accuracy[head.history_.best_epoch - 1] == pytest.approx(accuracy)


def test_sample_weights_and_validation_labels_that_training_has_not(vector_bank: Callable[..., Bank]) -> None:
    heads, others = ([SoftmaxHead(epochs=3, batch_size=BATCH)] for _ in range(2))
    bank, weights = vector_bank(missing=1), np.random.default_rng(0).uniform(0.1, 3, 180)
    train(heads, bank, sample_weight=weights)
    train_in_memory(others, bank, sample_weight=weights)
    check_equal(heads, others)
    assert heads[0].classes_.tolist() == [0, 2, 3]


def test_a_program_is_ended_within_an_epoch(vector_bank: Callable[..., Bank]) -> None:
    parts: list[int] = []

    class OutOfTimeError(Exception):
        pass

    def within() -> None:
        parts.append(1)
        if len(parts) == 2:
            raise OutOfTimeError

    def after() -> None:
        pytest.fail("the first epoch was not over")

    with between_epochs(after, within=within), pytest.raises(OutOfTimeError):
        train([SoftmaxHead(epochs=3, batch_size=BATCH)], vector_bank())


def test_progress_within_an_epoch(vector_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_BLOCK_BYTES", 4 * D * 64)
    monkeypatch.setattr(progress, "_SHOWN_EVERY_S", 0.0)
    lines: list[str] = []

    class Lines(Reporter):
        def detail(self, text: str) -> None:
            lines.append(text)

    with shown_by(Lines()):
        train([SoftmaxHead(epochs=1, batch_size=BATCH, standardize=True)], vector_bank())
    assert any(line.startswith("mean and deviation: row 64 of 180, ") for line in lines)
    assert any(line.startswith("epoch 1: row 128 of 180, ") and line.endswith(" left") for line in lines)


def test_a_shard_that_goes_away(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()

    def remove() -> None:
        for shard in bank.manifest.shards:
            (bank.path / shard.file).unlink(missing_ok=True)

    with between_epochs(lambda: None, within=remove), pytest.raises(BankDamagedError, match="the file does not exist"):
        train([SoftmaxHead(epochs=5, batch_size=BATCH)], bank)


def test_features_that_are_not_finite(vector_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    bank = vector_bank()
    rows = bank._rows.read

    def broken(*arguments: Any) -> np.ndarray:
        X = rows(*arguments)
        X[-1, 0] = np.nan
        return X

    monkeypatch.setattr(bank._rows, "read", broken)
    with pytest.raises(HeadError, match="the features hold NaN or infinite values"):
        train([SoftmaxHead(epochs=1, batch_size=BATCH)], bank)

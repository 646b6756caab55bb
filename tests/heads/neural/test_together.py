"""Heads trained together are heads trained alone, and both are what Keras trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import by_keras
import numpy as np
import pytest

from featurebank.errors import HeadError
from featurebank.heads.joint import VectorStem
from featurebank.heads.joint_network import first_tensors, program_key
from featurebank.heads.neural.base import NeuralHead
from featurebank.heads.neural.mlp import MLPHead
from featurebank.heads.neural.network import DenseNetwork
from featurebank.heads.neural.softmax import SoftmaxHead
from featurebank.heads.neural.together import train_together
from featurebank.system.runtime import import_tensorflow
from featurebank.training import loop
from featurebank.training.programs import dense_blocks

pytestmark = pytest.mark.heavy


def weights(head: NeuralHead) -> list[np.ndarray]:
    return [part for layer in head.layers_ for part in (layer.kernel, layer.bias)]


def same(one: NeuralHead, other: NeuralHead, tolerance: float = 1e-5) -> None:
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


EVERY_OPTION: list[dict[str, Any]] = [
    {"learning_rate": 0.01, "schedule": "inverse_time", "decay": 0.05, "epochs": 6, "l1": 1e-3},
    {"learning_rate": 0.02, "schedule": "exponential", "decay": 0.8, "epochs": 9, "patience": 2, "weight_decay": 0.01},
    {"learning_rate": 0.02, "schedule": "cosine", "warmup": 1.5, "epochs": 7, "label_smoothing": 0.1},
    {"learning_rate": 0.05, "schedule": "plateau", "plateau_patience": 1, "plateau_factor": 0.3, "epochs": 8},
    {"learning_rate": 0.03, "class_weight": "balanced", "monitor": "val_accuracy", "epochs": 9, "patience": 3},
    {"learning_rate": 0.01, "class_weight": [3.0, 1.0, 0.5], "min_delta": 0.01, "epochs": 9, "patience": 2, "l2": 0.01},
]
"""What heads of one program may differ in."""

MIXED: dict[str, list[dict[str, Any]]] = {
    "softmax, every option": EVERY_OPTION,
    "mlp, adamw": [{"optimizer": "adamw", "hidden_units": 16, **o} for o in EVERY_OPTION[::3]],
    "mlp, every option, rmsprop, max norm": [
        {
            "optimizer": "rmsprop",
            "hidden_units": [12, 6],
            "max_norm": 0.5 + i,
            "momentum": 0.5,
            "dropout": [0.3, 0],
            "l2": 1e-4,
            **o,
        }
        for i, o in enumerate(EVERY_OPTION)
    ],
    "mlp, adagrad, batch norm": [
        {"optimizer": "adagrad", "hidden_units": [12, 6], "batch_norm": True, "batch_norm_momentum": 0.5 + i / 20, **o}
        for i, o in enumerate(EVERY_OPTION[1:4])
    ],
    "mlp, nesterov, batch norm after": [
        {
            "optimizer": "sgd",
            "momentum": 0.1 + i / 10,
            "nesterov": True,
            "hidden_units": 16,
            "batch_norm": "after",
            "activation": "silu",
            **o,
        }
        for i, o in enumerate(EVERY_OPTION[3:])
    ],
    "softmax, adam": [
        {"learning_rate": 0.01, "epochs": 6},
        {"learning_rate": 0.001, "l2": 0.01, "epochs": 9, "patience": 2},
        {"learning_rate": 0.03, "label_smoothing": 0.2, "epochs": 9, "patience": 1},
    ],
    "softmax, adam, dropout": [
        {"learning_rate": 0.01, "dropout": 0.5, "l2": 0.001, "epochs": 6},
        {"learning_rate": 0.002, "dropout": 0.2, "l2": 0.01, "epochs": 9, "patience": 2},
    ],
    "softmax, sgd": [
        {"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "epochs": 6},
        {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.2, "l2": 0.05, "epochs": 9, "patience": 2},
    ],
    "mlp, adam": [
        {"hidden_units": 16, "learning_rate": 0.01, "epochs": 5, "dropout": 0.3},
        {"hidden_units": [16], "learning_rate": 0.002, "epochs": 8, "l2": 0.01, "patience": 2},
        {"hidden_units": (16,), "learning_rate": 0.02, "epochs": 8, "label_smoothing": 0.1, "patience": 1},
    ],
    "two hidden layers, sgd": [
        {
            "hidden_units": [12, 6],
            "optimizer": "sgd",
            "learning_rate": 0.02,
            "momentum": 0.9,
            "epochs": 5,
            "dropout": 0.5,
        },
        {"hidden_units": [12, 6], "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.5, "epochs": 7, "l2": 0.01},
    ],
}


def made(name: str) -> list[NeuralHead]:
    kind: Any = SoftmaxHead if name.startswith("softmax") else MLPHead
    return [kind(**options, random_state=3, batch_size=32) for options in MIXED[name]]


REPEATED = {"softmax, adam", "softmax, sgd", "mlp, adam", "two hidden layers, sgd"}
"""Their optimizers, layers, dropout and penalties are in the other cases too."""
COMPILED = {"softmax, adam, dropout", "mlp, every option, rmsprop, max norm"}
"""XLA compiles these: the two kinds of first layers, and all that heads differ in. The rest is the same arithmetic."""


def marks(name: str, *, slow: bool) -> list[pytest.MarkDecorator]:
    """Marks a test of the heads of a case in one program."""
    return [pytest.mark.slow] * slow + [pytest.mark.xla] * (name in COMPILED)


@pytest.fixture(scope="module")
def trained(hard: Any) -> Callable[[str], list[NeuralHead]]:
    """A function that trains the heads of a case in one program, once; they are not to be changed."""

    @cache
    def train(name: str) -> list[NeuralHead]:
        heads = made(name)
        assert len({program_key(head) for head in heads}) == 1, "or this would compare nothing"
        assert train_together(heads, hard.X, hard.y, hard.validation) == [None] * len(heads)
        return heads

    return train


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name, slow=name in REPEATED)) for name in MIXED])
def test_in_company_as_alone(name: str, hard: Any, trained: Callable[[str], list[NeuralHead]]) -> None:
    together, alone = trained(name), made(name)
    for one, other in zip(together, alone, strict=True):
        other.fit(hard.X, hard.y, hard.validation)
        same(one, other)
        assert len(one.history_.loss) == len(other.history_.loss)
        assert one.history_.best_epoch == other.history_.best_epoch
        np.testing.assert_allclose(one.history_.val_loss, other.history_.val_loss, rtol=1e-4)
    lengths = {len(head.history_.loss) for head in together}
    assert len(lengths) > 1, "the heads are meant to stop at different epochs"


HIDDEN = [name for name in MIXED if not name.startswith("softmax")]
BLOCKS = {("mlp, every option, rmsprop, max norm", 12), ("mlp, adagrad, batch norm", 5)}
"""Parts of one head, and several heads; with every step that looks at a whole kernel."""


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        pytest.param(name, columns, marks=marks(name, slow=(name, columns) not in BLOCKS))
        for name in HIDDEN
        for columns in (5, 12)
    ],
)
def test_large_first_kernels_are_trained_in_blocks(
    name: str, columns: int, hard: Any, monkeypatch: pytest.MonkeyPatch, trained: Callable[[str], list[NeuralHead]]
) -> None:  # fmt: skip
    """Blocks are parts of one head, or several heads: the steps are those of the whole.

    Each block is compiled by itself, so no more than three heads are trained in blocks.
    """
    whole, blocks = trained(name)[-3:], made(name)[-3:]
    monkeypatch.setattr(dense_blocks, "_SMALL", 1)
    dense_blocks.epoch_program.cache_clear()
    monkeypatch.setattr(dense_blocks, "_WEIGHTS", columns * hard.X.shape[1])
    assert len(dense_blocks.blocks_of(hard.X.shape[1], len(blocks), 12)) > 1
    train_together(blocks, hard.X, hard.y, hard.validation)
    for one, other in zip(whole, blocks, strict=True):
        same(one, other)
        assert one.history_.best_epoch == other.history_.best_epoch
        for values in by_keras.NAMES:  # with penalties
            np.testing.assert_allclose(getattr(one.history_, values), getattr(other.history_, values), rtol=1e-4)


def test_heads_of_several_programs_come_back_in_order(hard: Any) -> None:
    heads = [
        SoftmaxHead(learning_rate=0.01, epochs=3, random_state=3),
        MLPHead(hidden_units=16, learning_rate=0.01, epochs=3, random_state=3),
        SoftmaxHead(learning_rate=0.001, epochs=3, random_state=3),
        SoftmaxHead(learning_rate=0.01, epochs=3, random_state=4),
    ]
    seen: list[tuple[int, str | None, float, int]] = []
    train_together(heads, hard.X, hard.y, hard.validation, on_trained=lambda *found: seen.append(found))
    assert sorted((position, failure, together) for position, failure, _, together in seen) == [
        (0, None, 2), (1, None, 1), (2, None, 2), (3, None, 1)
    ]  # fmt: skip
    assert all(seconds > 0 for _, _, seconds, _ in seen)
    for head in heads:
        same(head, type(head)(**head.get_params()).fit(hard.X, hard.y, hard.validation))


def test_too_many_heads_for_the_memory_are_trained_in_turns(hard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def heads() -> list[NeuralHead]:
        return [SoftmaxHead(learning_rate=rate, epochs=3, random_state=3) for rate in (0.01, 0.003, 0.001)]

    together, turns = heads(), heads()
    train_together(together, hard.X, hard.y, hard.validation)
    monkeypatch.setattr(VectorStem, "program_bytes", 1)
    sizes: list[int] = []
    train_together(turns, hard.X, hard.y, hard.validation, on_trained=lambda *found: sizes.append(found[3]))
    assert sizes == [1, 1, 1]
    for one, other in zip(together, turns, strict=True):
        same(one, other)


# ---------------------------------------------------------------- Keras


def keras_model(head: NeuralHead, features: int, classes: int) -> Any:
    """The network of a head in Keras, without its dropout."""
    import keras

    where, momentum = head.normalization()
    options: dict[str, Any] = {
        "kernel_regularizer": keras.regularizers.L1L2(head.l1, head.l2),
        "kernel_constraint": keras.constraints.MaxNorm(head.max_norm) if head.max_norm else None,
    }
    layers = [keras.Input((features,))]
    for size in head.layer_sizes():
        layers.append(keras.layers.Dense(size, use_bias=where != "before", **options))
        parts = [keras.layers.Activation(head.hidden_activation())]
        if where:
            parts.insert(0 if where == "before" else 1, keras.layers.BatchNormalization(momentum=momentum))
        layers += parts
    return keras.Sequential([*layers, keras.layers.Dense(classes, "softmax", **options)])


def keras_start(head: NeuralHead, X: np.ndarray, y: np.ndarray) -> Any:
    """The network of a head in Keras, with the head's first weights."""
    import_tensorflow()
    import keras

    classes = np.unique(y)
    model = keras_model(head, X.shape[1], len(classes))
    first = first_tensors(head, X.shape[1:], len(classes))
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for number, layer in enumerate(dense):
        biases = [first[f"bias_dense{number}"]] if layer.use_bias else []
        layer.set_weights([first[head.kernel_names()[number]], *biases])
    return model


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(
            SoftmaxHead(learning_rate=0.01, epochs=3, l1=0.01, l2=0.05, label_smoothing=0.2), marks=pytest.mark.xla
        ),
        SoftmaxHead(learning_rate=0.05, epochs=3, optimizer="sgd", momentum=0.9, schedule="inverse_time", decay=0.1),
        SoftmaxHead(learning_rate=0.05, epochs=3, optimizer="sgd", momentum=0.8, nesterov=True, weight_decay=0.1),
        SoftmaxHead(learning_rate=0.01, epochs=3, optimizer="adamw", schedule="cosine", warmup=1),
        SoftmaxHead(learning_rate=0.01, epochs=3, optimizer="rmsprop", schedule="exponential", decay=0.5),
        SoftmaxHead(learning_rate=0.05, epochs=3, optimizer="adagrad", class_weight="balanced"),
        MLPHead(hidden_units=[12, 6], learning_rate=0.003, epochs=3, l2=0.01, label_smoothing=0.1),
        MLPHead(hidden_units=16, learning_rate=0.02, epochs=3, optimizer="sgd", momentum=0.9, activation="tanh"),
        MLPHead(hidden_units=16, learning_rate=0.003, epochs=3, activation="gelu", optimizer="rmsprop", momentum=0.5),
        MLPHead(hidden_units=16, learning_rate=0.003, epochs=3, activation="silu", weight_decay=0.1),
        MLPHead(hidden_units=16, learning_rate=0.003, epochs=3, activation="elu", class_weight=[3.0, 1.0, 0.5]),
        MLPHead(hidden_units=16, learning_rate=0.02, epochs=3, activation="leaky_relu", max_norm=0.7),
        MLPHead(hidden_units=16, learning_rate=0.02, epochs=3, activation="sigmoid", optimizer="adamw"),
        pytest.param(
            MLPHead(
                hidden_units=[12, 6],
                learning_rate=0.01,
                epochs=4,
                batch_norm=True,
                batch_norm_momentum=0.9,
                optimizer="adamw",
                schedule="cosine",
                warmup=1,
                l1=0.001,
                l2=0.01,
                label_smoothing=0.1,
                class_weight="balanced",
                max_norm=1.0,
            ),
            marks=pytest.mark.xla,
        ),
        MLPHead(
            hidden_units=[12, 6], learning_rate=0.01, epochs=4, batch_norm="after", batch_norm_momentum=0.8, l2=0.1
        ),
        MLPHead(hidden_units=16, learning_rate=0.5, epochs=8, optimizer="sgd", schedule="plateau", plateau_patience=1),
    ],
    ids=lambda head: "-".join(f"{k}={v}" for k, v in head.get_params().items() if v != getattr(type(head)(), k)),
)
def test_it_is_what_keras_trains(head: NeuralHead, hard: Any) -> None:
    """XLA compiles two of them; the parts of all programs under XLA: `tests/training/programs/test_compilation.py`."""
    head.set_params(random_state=5, batch_size=32)
    assert len(hard.X) % 32, "the last batch is meant to be a partial one"
    head.fit(hard.X, hard.y)  # no validation data: the last weights, as in Keras
    model = by_keras.fit(keras_start(head, hard.X, hard.y), head, hard.X, hard.y)
    np.testing.assert_allclose(head.predict_proba(hard.X_val), np.asarray(model(hard.X_val)), atol=1e-4)
    if not head.normalization()[0]:  # which is folded into the weights
        for ours, theirs in zip(weights(head), model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


PENALIZED = [
    SoftmaxHead(learning_rate=0.05, epochs=12, patience=3, l1=0.01, l2=0.02),
    SoftmaxHead(learning_rate=0.05, epochs=12, patience=2, label_smoothing=0.3, class_weight="balanced"),
    SoftmaxHead(
        learning_rate=0.3, epochs=14, patience=9, optimizer="sgd", schedule="plateau", plateau_patience=1, l2=0.1
    ),
    MLPHead(hidden_units=16, learning_rate=0.02, epochs=14, patience=3, l2=0.01, label_smoothing=0.1),
    MLPHead(hidden_units=16, learning_rate=0.02, epochs=12, patience=3, monitor="val_accuracy", l1=0.01),
]


@pytest.mark.parametrize(
    "head",
    PENALIZED,
    ids=lambda h: "-".join(f"{k}={v}" for k, v in h.get_params().items() if v != getattr(type(h)(), k)),
)
def test_its_course_is_that_of_keras_with_early_stopping(head: NeuralHead, hard: Any) -> None:
    """Every value of each epoch, the last epoch, and the one that is kept; losses have penalties and smoothing."""
    head.set_params(random_state=5, batch_size=64)  # two steps an epoch, of which Keras's are slow
    head.fit(hard.X, hard.y, hard.validation)
    model = keras_start(head, hard.X, hard.y)
    expected = by_keras.fit_watched(model, head, hard.X, hard.y, hard.validation)
    by_keras.assert_same_course(head.history_, expected)
    np.testing.assert_allclose(head.predict_proba(hard.X_val), np.asarray(model(hard.X_val)), atol=1e-3)


# ---------------------------------------------------------------- stopping


@pytest.mark.parametrize(
    "head", [SoftmaxHead(learning_rate=0.05), MLPHead(hidden_units=16, learning_rate=0.02)], ids=str
)
def test_the_best_epochs_weights_are_kept(head: NeuralHead, hard: Any) -> None:
    head.set_params(epochs=40, patience=4)
    history = head.fit(hard.X, hard.y, hard.validation).history_
    own = head.predict_proba(hard.X_val)[np.arange(len(hard.y_val)), np.searchsorted(head.classes_, hard.y_val)]
    best = int(np.argmin(history.val_loss))
    assert history.best_epoch == best + 1
    assert -np.log(own).mean() == pytest.approx(history.val_loss[best], abs=1e-4)
    assert head.score(hard.X_val, hard.y_val) == pytest.approx(history.val_accuracy[best], abs=1e-6)
    assert len(history.val_loss) == best + 1 + 4 < 40, "it stops when `patience` epochs were no better"
    assert history.val_loss[-1] > history.val_loss[best]


def test_a_fall_below_min_delta_counts_neither_for_patience_nor_as_the_best(hard: Any) -> None:
    options: dict[str, Any] = {"learning_rate": 1e-4, "epochs": 8, "patience": 3, "random_state": 3}
    heads = [SoftmaxHead(min_delta=delta, **options) for delta in (0.0, 10.0)]
    train_together(heads, hard.X, hard.y, hard.validation)
    assert [len(head.history_.val_loss) for head in heads] == [8, 4], "the first epoch counts, the next three do not"
    losses = heads[1].history_.val_loss
    assert losses == sorted(losses, reverse=True), "or this would not be a fall"
    assert heads[1].history_.best_epoch == 1
    same(heads[1], SoftmaxHead(**heads[1].get_params()).fit(hard.X, hard.y, hard.validation))


def test_without_validation_all_epochs_run_and_the_last_weights_stay(hard: Any) -> None:
    head = SoftmaxHead(learning_rate=0.05, epochs=7, patience=1).fit(hard.X, hard.y)
    assert (len(head.history_.loss), head.history_.val_loss, head.history_.best_epoch) == (7, [], 7)


def test_a_head_that_stopped_is_not_touched_by_those_that_go_on(hard: Any) -> None:
    short, long = (SoftmaxHead(learning_rate=0.02, optimizer="sgd", epochs=n, random_state=3) for n in (2, 20))
    train_together([short, long], hard.X, hard.y)
    assert (len(short.history_.loss), len(long.history_.loss)) == (2, 20)
    same(short, SoftmaxHead(learning_rate=0.02, optimizer="sgd", epochs=2, random_state=3).fit(hard.X, hard.y))


def test_the_losses_are_those_of_the_epoch(sample: Any) -> None:
    """With a rate of almost 0 the training loss is the loss of the first weights, over all images."""
    head = SoftmaxHead(learning_rate=1e-12, epochs=2, batch_size=32).fit(sample.X, sample.y, sample.validation)
    own = head.predict_proba(sample.X)[np.arange(len(sample.y)), np.searchsorted(head.classes_, sample.y)]
    assert head.history_.loss == pytest.approx([-np.log(own).mean()] * 2, rel=1e-4)


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("company", "validated"),
    [pytest.param(True, True, marks=pytest.mark.xla), (True, False), (False, True), (False, False)],
)
def test_a_head_that_diverges_fails_alone(hard: Any, *, validated: bool, company: bool) -> None:
    options: dict[str, Any] = {"hidden_units": 16, "random_state": 3, "epochs": 4}
    heads = [MLPHead(learning_rate=rate, **options) for rate in (0.01, 1e30, 0.001)]
    validation = hard.validation if validated else None
    if not company:
        with pytest.raises(HeadError, match=r"diverged in epoch \d \(.*\): try a smaller learning_rate"):
            heads[1].fit(hard.X, hard.y, validation)
        return
    failures = train_together(heads, hard.X, hard.y, validation)
    assert failures[0] is None
    assert failures[2] is None
    assert failures[1]
    assert failures[1].startswith("diverged in epoch")
    assert "\n" not in failures[1]
    with pytest.raises(HeadError, match="not fitted"):
        heads[1].predict(hard.X)
    for head in (heads[0], heads[2]):
        same(head, MLPHead(**head.get_params()).fit(hard.X, hard.y, validation))


@pytest.mark.xla
def test_weights_that_overflow_after_the_last_loss_are_a_failure(hard: Any) -> None:
    head = SoftmaxHead(learning_rate=3e38, optimizer="sgd", epochs=1, batch_size=90)
    with pytest.raises(HeadError, match="diverged in epoch 1"):
        head.fit(hard.X * 100, hard.y)


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 0}, {"learning_rate": -1.0}, {"learning_rate": float("nan")}, {"learning_rate": "fast"},
        {"learning_rate": True}, {"optimizer": "lamb"}, {"momentum": 1.0}, {"l2": -0.1}, {"dropout": 1.0},
        {"dropout": None}, {"label_smoothing": -0.1}, {"batch_size": 0}, {"batch_size": 32.5}, {"epochs": 0},
        {"epochs": "10"}, {"patience": 0}, {"standardize": "no"}, {"random_state": -1}, {"hidden_units": 0},
        {"hidden_units": [16, 0]}, {"hidden_units": 16.5}, {"hidden_units": "wide"}, {"hidden_units": [[16]]},
        {"activation": "swish"}, {"dropout": [0.5, 1.0]}, {"schedule": "step"}, {"schedule": "exponential"},
        {"nesterov": True}, {"nesterov": 1}, {"weight_decay": -1.0}, {"max_norm": 0}, {"class_weight": "even"},
        {"class_weight": [1.0, 0.0]}, {"class_weight": []}, {"monitor": "loss"}, {"warmup": -1}, {"plateau_factor": 1},
        {"plateau_patience": 0}, {"plateau_floor": -1.0}, {"l1": -1}, {"batch_norm": "twice"},
        {"batch_norm_momentum": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_parameter_that_cannot_be_is_told(hard: Any, options: dict[str, Any]) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(HeadError) as caught:
        MLPHead(**options).fit(hard.X, hard.y)
    told = "decay is 0.0" if value == "exponential" else f"{name} is {value!r}"
    assert f"{told}, expected" in str(caught.value)


def test_all_parameters_that_cannot_be_are_told_at_once() -> None:
    with pytest.raises(HeadError, match=r"learning_rate is 0.*dropout is 2.*hidden_units is 0"):
        MLPHead(learning_rate=0, dropout=2, hidden_units=0).check()


def test_numbers_of_numpy_do(hard: Any) -> None:
    head = MLPHead(hidden_units=np.int64(16), learning_rate=np.float32(0.01), epochs=np.int64(2), standardize=np.True_)
    assert len(head.fit(hard.X, hard.y).history_.loss) == 2


def test_validation_features_of_another_width_or_not_finite(hard: Any) -> None:
    with pytest.raises(HeadError, match="X has 97 features"):
        SoftmaxHead().fit(hard.X, hard.y, (hard.X_val[:, :97], hard.y_val))
    X_val = hard.X_val.copy()
    X_val[0, 0] = np.nan
    with pytest.raises(HeadError, match="NaN"):
        SoftmaxHead().fit(hard.X, hard.y, (X_val, hard.y_val))


# ---------------------------------------------------------------- standardisation


def scaled(X: np.ndarray) -> np.ndarray:
    """Features of very different sizes, one of them constant."""
    random = np.random.default_rng(0)
    X = X * np.geomspace(1e-3, 1e3, X.shape[1]) + random.normal(size=X.shape[1])
    X[:, 7] = 0.1
    return X.astype(np.float32)


@pytest.mark.parametrize("make", [SoftmaxHead, lambda **o: MLPHead(hidden_units=16, **o)], ids=["softmax", "mlp"])
def test_standardisation_is_folded_into_the_weights(hard: Any, make: Any) -> None:
    X, X_val = scaled(hard.X), scaled(hard.X_val)
    head = make(standardize=True, learning_rate=0.01, epochs=5).fit(X, hard.y, (X_val, hard.y_val))
    mean, scale = X.mean(0, dtype=np.float64), X.std(0, dtype=np.float64)
    scale[7] = 1
    done = [((part - mean) / scale).astype(np.float32) for part in (X, X_val)]
    plain = make(standardize=False, learning_rate=0.01, epochs=5).fit(done[0], hard.y, (done[1], hard.y_val))
    np.testing.assert_allclose(head.predict_proba(X_val), plain.predict_proba(done[1]), atol=1e-4)


def test_a_feature_that_is_constant_but_for_rounding_is_left_alone(hard: Any) -> None:
    """Its noise is that of float32; blown up, it would be a feature like the others, and lose digits of them."""
    X, X_val = hard.X.copy(), hard.X_val.copy()
    for part in (X, X_val):
        part[:, 3] = np.float32(1000) + np.spacing(np.float32(1000)) * (np.arange(len(part)) % 2)
    head = SoftmaxHead(standardize=True, learning_rate=0.01, epochs=5).fit(X, hard.y, (X_val, hard.y_val))
    own = head.predict_proba(X_val)[np.arange(len(hard.y_val)), np.searchsorted(head.classes_, hard.y_val)]
    assert -np.log(own).mean() == pytest.approx(min(head.history_.val_loss), abs=1e-4)
    assert np.abs(head.layers_[0].kernel[3]).max() < 10


# ---------------------------------------------------------------- programs


def key_differs(changes: Sequence[dict[str, Any]]) -> list[bool]:
    base = MLPHead(hidden_units=16)
    return [program_key(MLPHead(**{"hidden_units": 16, **change})) != program_key(base) for change in changes]


def test_what_heads_of_a_program_have_in_common() -> None:
    apart = [
        {"hidden_units": 17}, {"activation": "tanh"}, {"optimizer": "sgd"}, {"batch_size": 16},
        {"standardize": True}, {"random_state": 1}, {"optimizer": "adamw"}, {"batch_norm": True}, {"max_norm": 1.0},
        {"optimizer": "sgd", "momentum": 0.5},
    ]  # fmt: skip
    joined = [
        {"learning_rate": 0.5}, {"l2": 0.1}, {"dropout": 0.5}, {"label_smoothing": 0.1}, {"epochs": 3}, {"patience": 1},
        {"momentum": 0.1}, {"hidden_units": [16]}, {"schedule": "cosine"}, {"class_weight": "balanced"}, {"l1": 0.1},
        {"weight_decay": 0.1}, {"monitor": "val_accuracy"}, {"dropout": [0.5]},
    ]  # fmt: skip
    assert all(key_differs(apart))
    assert not any(key_differs(joined))


@pytest.mark.parametrize(("compilation", "expected"), [(0.0, [8, 4]), (1e9, [])])
def test_those_that_stopped_leave_the_program(
    hard: Any, monkeypatch: pytest.MonkeyPatch, compilation: float, expected: list[int]
) -> None:
    """Once it pays, and the others do not notice."""
    heads = [
        MLPHead(hidden_units=8, batch_norm=True, random_state=3, epochs=epochs, learning_rate=0.01 / epochs)
        for epochs in (2, 9, 4, 3, 9, 1, 5, 9, 7)
    ]
    sizes: list[int] = []
    narrow = DenseNetwork.narrow

    def counted(network: Any, positions: Any) -> None:
        sizes.append(len(positions))
        narrow(network, positions)

    monkeypatch.setattr(DenseNetwork, "narrow", counted)
    monkeypatch.setattr(loop, "Narrowing", lambda: _Narrowing(compilation))
    train_together(heads, hard.X, hard.y, hard.validation)
    assert sizes == expected
    for head in heads:
        alone = MLPHead(**head.get_params()).fit(hard.X, hard.y, hard.validation)
        same(head, alone)
        assert head.history_.best_epoch == alone.history_.best_epoch


class _Narrowing(loop.Narrowing):
    """Knows what a compilation costs."""

    def decide(self, active: Sequence[bool], seconds: float) -> list[int] | None:
        self._first = seconds
        return super().decide(active, seconds)


def test_every_epoch_takes_one_view_of_each_image(hard: Any) -> None:
    far = hard.X + 100
    head = SoftmaxHead(learning_rate=1e-12, epochs=6, random_state=3)
    train_together([head], hard.X, hard.y, views=[far])
    plain = SoftmaxHead(learning_rate=1e-12, epochs=1, random_state=3)
    losses = [plain.fit(X, hard.y).history_.loss[0] for X in (hard.X, far)]
    assert min(losses) < min(head.history_.loss) < max(head.history_.loss) < max(losses), "a mixture of both views"
    assert len(set(head.history_.loss)) > 1, "another one in each epoch"
    alone = SoftmaxHead(learning_rate=0.01, epochs=3, random_state=3)
    together = [SoftmaxHead(learning_rate=rate, epochs=3, random_state=3) for rate in (0.01, 0.02)]
    train_together([alone], hard.X, hard.y, views=[far])
    train_together(together, hard.X, hard.y, views=[far])
    same(alone, together[0])


def test_seeds_decide(hard: Any) -> None:
    one, other = (SoftmaxHead(epochs=2, random_state=seed).fit(hard.X, hard.y) for seed in (3, 4))
    assert not np.allclose(one.layers_[0].kernel, other.layers_[0].kernel)

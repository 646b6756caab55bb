"""Conv heads: trained together they are those trained alone, and both are what Keras trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import by_keras
import numpy as np
import pytest

from featurebank.errors import HeadError
from featurebank.heads.joint_network import first_tensors, program_key
from featurebank.heads.maps.base import MapHead
from featurebank.heads.maps.conv import ConvHead
from featurebank.heads.maps.network import train_maps_together
from featurebank.heads.maps.pooling import AttentionPoolHead, GemPoolHead
from featurebank.heads.maps.stems import MapStem
from featurebank.system.runtime import import_tensorflow
from featurebank.training.options import batch_norm_position

pytestmark = pytest.mark.heavy

SMALL: dict[str, Any] = {"filters": 4, "batch_norm_momentum": 0.5, "batch_size": 32, "random_state": 3}
STUDY_D: dict[str, Any] = {
    **SMALL, "filters": 6, "conv_batch_norm": "before", "hidden_units": [8, 5], "batch_norm": "after",
}  # fmt: skip
"""Study D's head, with other widths."""

IN_COMPANY: dict[str, Callable[[], list[MapHead]]] = {
    # silu: the bias of a ReLU that never rests has no gradient before batch normalisation, and Adam follows rounding.
    "study D": lambda: [
        ConvHead(**STUDY_D, activation="silu", **options)
        for options in (
            {"learning_rate": 0.01, "epochs": 4, "dropout": [0.25, 0.25, 0.5]},
            {"learning_rate": 0.003, "epochs": 6, "dropout": 0.1, "l2": 0.01},
            {"learning_rate": 0.02, "epochs": 6, "patience": 1, "label_smoothing": 0.1},
        )
    ],
    "several convolutions, sgd, standardised": lambda: [
        ConvHead(
            **{**SMALL, "filters": [4, 3], "conv_batch_norm": "after"}, kernel_size=[3, 2], padding="same",
            reduce="avg", optimizer="sgd", momentum=0.1 * (1 + i), standardize=True, learning_rate=0.01, epochs=3 + i,
            schedule="inverse_time", decay=0.01 * (i + 1), class_weight="balanced" if i else None, max_norm=0.5 + i,
        )
        for i in range(3)
    ],
    "attention": lambda: [
        AttentionPoolHead(queries=2, batch_size=32, random_state=3, learning_rate=rate, epochs=epochs, l1=l1)
        for rate, epochs, l1 in ((0.01, 3, 0.0), (0.03, 5, 0.01))
    ],
    "gem": lambda: [
        GemPoolHead(power=power, batch_size=32, random_state=3, learning_rate=0.02, epochs=epochs, hidden_units=4)
        for power, epochs in ((1.0, 3), (3.0, 5))
    ],
}  # fmt: skip


def same(one: MapHead, other: MapHead, tolerance: float = 1e-5) -> None:
    assert set(one.tensors_) == set(other.tensors_)
    for name, tensor in one.tensors_.items():
        np.testing.assert_allclose(tensor, other.tensors_[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("study D", marks=[pytest.mark.slow, pytest.mark.xla]),  # its layers are in the next case too
        pytest.param("several convolutions, sgd, standardised", marks=pytest.mark.xla),
        "attention",
        "gem",
    ],
)
def test_in_company_as_alone(name: str, hard_maps: Any) -> None:
    together, alone = IN_COMPANY[name](), IN_COMPANY[name]()
    assert len({program_key(head) for head in together}) == 1, "or this would compare nothing"
    sizes: list[int] = []
    told = train_maps_together(
        together, hard_maps.X, hard_maps.y, hard_maps.validation, on_trained=lambda *found: sizes.append(found[3])
    )
    assert told == [None] * len(together)
    assert sizes == [len(together)] * len(together)
    for one, other in zip(together, alone, strict=True):
        other.fit(hard_maps.X, hard_maps.y, hard_maps.validation)
        same(one, other)
        assert one.history_.best_epoch == other.history_.best_epoch
        np.testing.assert_allclose(one.history_.val_loss, other.history_.val_loss, rtol=1e-4)
    assert len({len(head.history_.loss) for head in together}) > 1, "the heads are meant to stop at different epochs"


def test_heads_of_several_programs_come_back_in_order(maps: Any) -> None:
    def heads() -> list[Any]:
        options: dict[str, Any] = {"learning_rate": 0.01, "epochs": 2, "batch_size": 32, "random_state": 3}
        return [
            GemPoolHead(**options), AttentionPoolHead(**options, queries=2),
            GemPoolHead(**{**options, "learning_rate": 0.1}), AttentionPoolHead(**options),
            AttentionPoolHead(**options, queries=2, l2=0.1),
        ]  # fmt: skip

    together, seen = heads(), {}
    train_maps_together(together, maps.X, maps.y, maps.validation, on_trained=lambda i, *rest: seen.update({i: rest}))
    assert {i: (failure, count) for i, (failure, _, count) in seen.items()} == {
        0: (None, 2), 1: (None, 2), 2: (None, 2), 3: (None, 1), 4: (None, 2)
    }  # fmt: skip
    for one, other in zip(together, heads(), strict=True):
        other.fit(maps.X, maps.y, maps.validation)
        np.testing.assert_allclose(one.predict_proba(maps.X_val), other.predict_proba(maps.X_val), atol=1e-5)


def test_too_many_heads_for_the_memory_are_trained_in_turns(maps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def heads() -> list[MapHead]:
        return [GemPoolHead(learning_rate=rate, epochs=2, random_state=3) for rate in (0.01, 0.003, 0.001)]

    together, turns = heads(), heads()
    train_maps_together(together, maps.X, maps.y)
    monkeypatch.setattr(MapStem, "program_bytes", 1)
    sizes: list[int] = []
    train_maps_together(turns, maps.X, maps.y, on_trained=lambda *found: sizes.append(found[3]))
    assert sizes == [1, 1, 1]
    for one, other in zip(together, turns, strict=True):
        same(one, other)


# ---------------------------------------------------------------- Keras


def keras_model(head: ConvHead, shape: tuple[int, ...], classes: int) -> Any:
    """The network of a head in Keras with its first weights, without its dropout."""
    import_tensorflow()
    import keras

    options: dict[str, Any] = {"kernel_regularizer": keras.regularizers.L1L2(head.l1, head.l2)}

    def activated(x: Any, place: str) -> Any:
        parts = [keras.layers.Activation(head.activation)]
        if place:
            norm = keras.layers.BatchNormalization(momentum=head.batch_norm_momentum)
            parts.insert(0 if place == "before" else 1, norm)
        for part in parts:
            x = part(x)
        return x

    inputs = x = keras.Input(shape)
    position = batch_norm_position(head.conv_batch_norm)
    for layer in head.conv_layers():
        convolution = keras.layers.Conv2D(
            layer.filters, layer.kernel, padding=head.padding, use_bias=position != "before", **options
        )
        x = convolution(x)
        x = activated(x, position)
        x = keras.layers.MaxPooling2D(layer.pool)(x)
    reduction = {
        "flatten": keras.layers.Flatten, "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }  # fmt: skip
    x = reduction[head.reduce]()(x)
    for size in head.layer_sizes():
        dense = keras.layers.Dense(size, use_bias=batch_norm_position(head.batch_norm) != "before", **options)
        x = activated(dense(x), batch_norm_position(head.batch_norm))
    model = keras.Model(inputs, keras.layers.Dense(classes, "softmax", **options)(x))
    first = first_tensors(head, shape, classes)
    kernels = iter([name for name in first if name.startswith("kernel")])
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            kernel = first[next(kernels)]
            layer.set_weights([kernel.reshape(layer.kernel.shape), *layer.get_weights()[1:]])
    return model


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(ConvHead(**STUDY_D, learning_rate=0.01, epochs=3), marks=pytest.mark.xla),
        ConvHead(**{**SMALL, "conv_batch_norm": False}, learning_rate=0.05, epochs=3, optimizer="sgd", momentum=0.9),
        ConvHead(
            **{**SMALL, "filters": [4, 3], "conv_batch_norm": "after"}, kernel_size=[3, 2], padding="same",
            pool_size=[2, 3], hidden_units=6, batch_norm=True, learning_rate=0.01, epochs=3, l2=0.01,
            label_smoothing=0.1, activation="gelu",
        ),
        ConvHead(**SMALL, reduce="avg", learning_rate=0.01, epochs=3, optimizer="adamw", class_weight="balanced"),
        ConvHead(**SMALL, reduce="max", kernel_size=1, pool_size=1, learning_rate=0.01, epochs=3, optimizer="rmsprop"),
    ],
    ids=lambda head: "-".join(f"{k}={v}" for k, v in head.get_params().items() if v != getattr(type(head)(), k)),
)  # fmt: skip
def test_it_is_what_keras_trains(head: ConvHead, hard_maps: Any) -> None:
    assert len(hard_maps.X) % 32, "the last batch is meant to be a partial one"
    head.fit(hard_maps.X, hard_maps.y)  # no validation data: the last weights, as in Keras
    model = by_keras.fit(keras_model(head, (7, 7, 2), 3), head, hard_maps.X, hard_maps.y)
    expected = np.asarray(model(hard_maps.X_val))
    np.testing.assert_allclose(head.predict_proba(hard_maps.X_val), expected, atol=1e-4)
    numbers = sum(int(np.prod(weight.shape)) for weight in model.weights)
    assert head.n_parameters_ == numbers


def test_its_course_is_that_of_keras_with_early_stopping(hard_maps: Any) -> None:
    head = ConvHead(
        **{**SMALL, "conv_batch_norm": False, "batch_size": 64}, learning_rate=0.02, epochs=8, patience=2,
        l1=0.003, l2=0.02, label_smoothing=0.1, hidden_units=6,
    ).fit(hard_maps.X, hard_maps.y, hard_maps.validation)  # fmt: skip
    model = keras_model(head, (7, 7, 2), 3)
    expected = by_keras.fit_watched(model, head, hard_maps.X, hard_maps.y, hard_maps.validation)
    by_keras.assert_same_course(head.history_, expected, tolerance=1e-3)


def test_channels_are_standardised_over_all_places(maps: Any) -> None:
    scaled = maps.X * np.float32([100.0, 0.01]) + np.float32([-7.0, 3.0])
    options: dict[str, Any] = {**SMALL, "learning_rate": 0.01, "epochs": 3, "standardize": True}
    one, other = ConvHead(**options).fit(maps.X, maps.y), ConvHead(**options).fit(scaled, maps.y)
    np.testing.assert_allclose(one.predict_proba(maps.X), other.predict_proba(scaled), atol=1e-3)
    np.testing.assert_allclose(one.tensors_["channel_mean"], maps.X.mean((0, 1, 2)), atol=1e-5)


def test_views_are_trained_on(maps: Any) -> None:
    """Each epoch takes one of the stored views of each image: here one with the channels turned around."""
    turned = maps.X[:, ::-1, :, ::-1].copy()
    plain, both = (ConvHead(**SMALL, epochs=3, learning_rate=0.01) for _ in range(2))
    train_maps_together([plain], maps.X, maps.y)
    train_maps_together([both], maps.X, maps.y, views=[turned])
    assert plain.history_.loss[0] < both.history_.loss[0]
    alike = ConvHead(**SMALL, epochs=3, learning_rate=0.01)
    train_maps_together([alike], maps.X, maps.y, views=[maps.X])
    assert alike.history_.loss[0] == pytest.approx(plain.history_.loss[0]), "the order of the first epoch is the same"


def test_the_best_epochs_weights_are_kept(hard_maps: Any) -> None:
    head = ConvHead(**SMALL, learning_rate=0.05, epochs=30, patience=3)
    history = head.fit(hard_maps.X, hard_maps.y, hard_maps.validation).history_
    told = head.predict_proba(hard_maps.X_val)[np.arange(45), np.searchsorted(head.classes_, hard_maps.y_val)]
    best = int(np.argmin(history.val_loss))
    assert history.best_epoch == best + 1
    assert -np.log(told).mean() == pytest.approx(history.val_loss[best], abs=1e-4)
    assert len(history.val_loss) == best + 1 + 3 < 30


@pytest.mark.xla
def test_a_head_that_diverges_fails_alone(maps: Any) -> None:
    heads = [ConvHead(**SMALL, learning_rate=rate, epochs=3, optimizer="sgd") for rate in (0.01, 1e30, 0.001)]
    for head in heads:
        head.set_params(conv_batch_norm=False)
    failures = train_maps_together(heads, maps.X, maps.y, maps.validation)
    assert failures[0] is failures[2] is None
    assert "diverged in epoch" in str(failures[1])
    assert heads[0].predict_proba(maps.X).shape == (90, 3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"filters": 0}, "filters is 0, expected"),
        ({"filters": []}, "filters is .*, expected"),
        ({"filters": [4, 4], "kernel_size": [3, 3, 3]}, r"kernel_size is \[3, 3, 3\], expected .*a list of 2"),
        ({"padding": "full"}, "padding is 'full', expected valid, same"),
        ({"conv_batch_norm": "under"}, "conv_batch_norm is 'under', expected true, false, before, after"),
        ({"reduce": "mean"}, "reduce is 'mean', expected flatten, avg, max"),
        ({"hidden_units": [8], "dropout": [0.1, 0.2, 0.3]}, "dropout is .* or a list of 2"),
        ({"kernel_size": 9}, r"convolution 1 \(9 x 9, valid, pooling 2\) leaves nothing of a map of 7 x 7"),
        ({"filters": [4, 4], "pool_size": [4, 2]}, r"convolution 2 \(3 x 3, valid.* leaves nothing of a map of 1 x 1"),
        ({"clipnorm": 1.0}, "clipnorm"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], told: str, maps: Any) -> None:
    with pytest.raises((HeadError, TypeError), match=told):
        ConvHead(**options).fit(maps.X, maps.y)

"""Does a fine-tune train as fast as a hand-written Keras `fit` on the same model and images?

EfficientNet-Lite0 with a softmax layer, all of it trained by SGD with momentum, in batches of 32 images of 224 pixels.
A warm-up turn of each compiles and is not timed. Keras as it comes compiles the whole step by XLA, which takes a minute
more at the start; `jit_compile=False` is what who knows that would write. The contests of tails, which are stages of a
fine-tune that start from the bank, are in `benchmarks.tails`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import tails
from benchmarks.harness import Contest, conditions, report, tensorflow
from featurebank import load_backbone
from featurebank.finetuning.images import batches, order
from featurebank.finetuning.options import read_options
from featurebank.finetuning.phases import plan_phases
from featurebank.finetuning.program import TrainedModel, phase_step

CLASSES, BATCH, RATE = 10, 32, 1e-3
KERAS, AS_IT_COMES = "Keras fit, jit_compile=False", "Keras fit, as it comes"


class Made:
    """Images in memory, as `SourceImages` has them."""

    in_memory = True

    def __init__(self, count: int, size: int) -> None:
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        self.labels = rng.integers(0, CLASSES, count).astype(np.int32)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Returns some of them."""
        return self.pixels[rows]


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Runs the benchmark."""
    tensorflow()
    found, losses = tails.contests(rounds, quick=quick, photos=photos)
    report([*contests(rounds, quick=quick), *found], conditions(), output, {"rounds": rounds, "losses": losses})
    tails.tell(losses)


def contests(rounds: int, *, quick: bool) -> list[Contest]:
    """Runs the contest and returns its figures.

    Args:
        rounds: how many turns each contestant has.
        quick: take images of 32 pixels, to see that all works.
    """
    size, count = (32, 64) if quick else (224, 160)
    made = Made(count, size)
    contest = Contest(
        f"fine-tune all of efficientnet_lite0, {count} images of {size} px an epoch", count, "images", KERAS
    )
    contestants = {"featurebank": _own(_model(size), made), KERAS: _keras(_model(size), made, jit=False)}
    if not quick:
        contestants[AS_IT_COMES] = _keras(_model(size), made, jit=True)
    for act in contestants.values():
        act()
    for _ in range(rounds):
        for name, act in contestants.items():
            contest.time(name, act)
    return [contest]


def _model(size: int) -> Any:
    """Returns a graft: the network, then a softmax layer."""
    import keras

    network = load_backbone("efficientnet_lite0", weights="random:0", image_size=size).network()
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(network.output)
    x = keras.layers.Dense(CLASSES, name="head_logits", kernel_initializer=keras.initializers.GlorotUniform(seed=0))(x)
    return keras.Model(network.input, keras.layers.Activation("softmax", name="probabilities")(x))


def _own(model: Any, made: Any) -> Callable[[], None]:
    """Returns one epoch as `finetune` does it."""
    options = read_options({"unfreeze": ["all"], "learning_rate": RATE})
    (phase,) = plan_phases(model, options)
    program = phase_step(TrainedModel(model, options), phase, options, np.ones(CLASSES))

    def epoch() -> None:
        rows = order(len(made.labels), BATCH, (0,))
        for number, (chosen, images) in enumerate(zip(rows, batches(made, rows, None, 0), strict=True), 1):
            program.step(images, made.labels[chosen], RATE, number)

    return epoch


def _keras(model: Any, made: Made, *, jit: bool) -> Callable[[], None]:
    import keras

    for layer in model.layers:
        layer.trainable = True
    options: dict[str, Any] = {} if jit else {"jit_compile": False}
    model.compile(keras.optimizers.SGD(RATE, 0.9), "sparse_categorical_crossentropy", **options)
    return lambda: model.fit(made.pixels, made.labels, batch_size=BATCH, verbose=0)

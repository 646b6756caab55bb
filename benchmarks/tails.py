"""How much faster is a tail's epoch from stored maps than Keras `fit` of the same layers from images? Is it the same?

ResNet50 with random weights at 224 pixels, after `conv4_block6_out` and after `conv5_block2_out`, and a ViT-S/16 after
the tenth of its twelve blocks: the layers after the cut and a softmax layer, trained by Adam in batches of 32, from the
same first weights, in the same order. Keras runs the whole network with its trunk frozen, on decoded images in memory;
featurebank reads the bank, anew in each epoch. A warm-up epoch of each compiles and is not timed.

The bound is what multiply-adds allow: the network forward and its tail backward, which is twice its forward pass,
against the tail forward and backward. The tail of the ViT may exceed it: of the last block it computes the class token
alone, besides keys and values (`keras_networks/early_selection.py`), which plain Keras does not. The bare step is what
the tail would cost without featurebank: the same layers, one `tf.function` with a `GradientTape` and Keras's optimizer,
on float32 maps or tokens in memory.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contest, conditions, report, tensorflow
from benchmarks.pictures import photo_folder
from featurebank import extract, load_backbone, load_dataset
from featurebank.backbone import Backbone
from featurebank.backbone.keras_networks.cuts import checked_cut
from featurebank.bank import Bank
from featurebank.heads.layered.network import LayeredNetwork
from featurebank.heads.layered.tail import TailHead
from featurebank.heads.maps.data import MapData
from featurebank.heads.maps.stored import MAPS_AND_TOKENS, StoredMaps
from featurebank.training.batches import padded

Losses = dict[str, dict[str, list[float]]]
"""Of each epoch, by cut and contestant."""

VIT = "benchmarks.networks:vit_small"
CUTS = {"resnet50": {"conv4_block6_out": 1.7, "conv5_block2_out": 4.0}, VIT: {"block9_out": 4.0}}
"""With how much faster an epoch is to be, by network and cut."""
IMAGES, BATCH, RATE = 192, 32, 1e-4
_SHOWN = 8
OWN, KERAS, BARE = "featurebank, stored maps", "Keras fit, trunk frozen, from images", "bare Keras step, maps in memory"


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Runs the benchmark."""
    tensorflow()
    found, losses = contests(rounds, quick=quick, photos=photos)
    report(found, conditions(), output, {"rounds": rounds, "losses": losses})
    tell(losses)


def tell(losses: Losses) -> None:
    """Prints the loss of each epoch, the warm-up's first, of all contestants side by side."""
    for cut, curves in losses.items():
        print(f"mean loss of each epoch, {cut}")
        own = np.array(curves[OWN])
        for name, curve in curves.items():
            apart = (
                "" if name == OWN else f"   {np.abs(own[: len(curve)] / np.array(curve) - 1).max():.1e} apart at most"
            )
            print(f"  {name:<38}" + " ".join(f"{loss:.5f}" for loss in curve[:_SHOWN]) + apart)


def contests(rounds: int, *, quick: bool, photos: Path | None = None) -> tuple[list[Contest], Losses]:
    """Runs the contests and returns their figures: for each cut an epoch, and a step; and the losses.

    Args:
        rounds: how many turns each contestant has.
        quick: take images of 64 pixels, to see that all works.
        photos: a folder of real photos; None takes made ones.
    """
    found: list[Contest] = []
    losses: Losses = {}
    with tempfile.TemporaryDirectory() as directory:
        folder = photo_folder(Path(directory) / "photos", IMAGES // 3 if quick else IMAGES, photos)
        dataset = load_dataset(str(folder))
        places = {name: place for place, name in enumerate(dataset.ids)}
        for name, cuts in CUTS.items():
            backbone = load_backbone(name, weights="random:0", image_size=64 if quick else None)
            bank = extract(dataset, backbone, list(cuts), cache=Path(directory) / "cache")
            images = np.stack([backbone.resize(dataset.image(places[image])) for image in bank.ids()])
            for cut, target in cuts.items():
                match = _Match(name, backbone, bank, images, cut, target)
                found += match.run(rounds)
                losses[f"{name} after {cut}"] = match.losses
    return found, losses


@dataclass
class _Match:
    """The contests of one cut."""

    name: str
    """Of the network, as `load_backbone` takes it."""
    backbone: Backbone
    bank: Bank
    images: np.ndarray
    """(n, s, s, 3) uint8, in the bank's order."""
    cut: str
    target: float
    """With how much faster an epoch is to be."""
    losses: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of all cores in each turn, which say more than the clock's where others use the machine too."""

    def __post_init__(self) -> None:
        self.labels = np.asarray(self.bank.labels(), np.int32)
        self.head = TailHead(
            backbone=self.name, cut=self.cut, weights=self.backbone.weights,
            pooling="avg" if len(self.bank.tap_shape(self.cut)) == 3 else "own",  # of maps (h, w, c), or of tokens
            image_size=self.backbone.image_size, learning_rate=RATE, batch_size=BATCH,
        )  # fmt: skip
        self.rng = np.random.default_rng(0)

    def run(self, rounds: int) -> list[Contest]:
        """Lets the contestants take turns, in the same order of images."""
        count, size = len(self.images), self.backbone.image_size
        where = f"{self.name} after {self.cut}, {count} images of {size} px an epoch"
        epoch = Contest(f"a tail's epoch: {where}", count, "images", KERAS)
        step = Contest(f"a tail's step: {where}", count, "images", BARE)
        contestants = {OWN: self._own(), BARE: self._bare(), KERAS: self._keras()}
        for turn in range(1 + 3 * rounds):  # two thirds of them for the step, whose contestants are close
            rows = self.rng.permutation(count)
            names = [OWN, BARE] if turn % 2 else [BARE, OWN]
            for name in [*names, KERAS] if turn <= rounds else names:
                contest = epoch if name == KERAS or (name == OWN and turn <= rounds) else step
                self._turn(contest, name, contestants[name](rows), timed=turn > 0)
        step.seconds[OWN] = epoch.seconds[OWN] + step.seconds.get(OWN, [])
        self._note(epoch, step)
        return [epoch, step]

    def _turn(self, contest: Contest, name: str, act: Callable[[], float], *, timed: bool) -> None:
        began = time.process_time()
        self.losses.setdefault(name, []).append(contest.time(name, act) if timed else act())
        if timed:
            self.processor.setdefault(name, []).append(time.process_time() - began)

    def _note(self, epoch: Contest, step: Contest) -> None:
        share = checked_cut(self.backbone.network(), self.cut).remaining_work
        bound = (1 + 2 * share) / (3 * share)
        used = {name: statistics.median(seconds) for name, seconds in self.processor.items()}
        ratios = {name: f"{seconds / used[OWN]:.2f} x by processor time" for name, seconds in used.items()}
        epoch.notes[OWN] = f"{ratios[KERAS]}; target {self.target} x, multiply-adds allow {bound:.2f} x"
        step.notes[OWN] = f"{ratios[BARE]}; target .8 x"

    def _own(self) -> Callable[[np.ndarray], Callable[[], float]]:
        """Returns what makes an epoch as the heads of a grid are trained."""
        maps = StoredMaps(self.bank, self.cut, np.arange(len(self.images)))
        network = LayeredNetwork([self.head], MapData.of(maps, self.labels, None, ranks=MAPS_AND_TOKENS))

        def prepare(rows: np.ndarray) -> Callable[[], float]:
            batches = padded(rows, BATCH)
            rates = np.full((len(batches.rows), 1), RATE, np.float32)
            return lambda: float(network.run_epoch(batches, rates, np.array([True]))[0][0])

        return prepare

    def _keras(self) -> Callable[[np.ndarray], Callable[[], float]]:
        import keras

        network, tail = self.backbone.network(), self._tail()
        start = {layer.name: layer.get_weights() for layer in tail.layers}
        whole = keras.models.clone_model(network)
        whole.set_weights(network.get_weights())
        x = whole.output
        for layer in tail.layers:
            if layer.name.startswith("head_"):
                x = type(layer).from_config(layer.get_config())(x)
        model = keras.Model(whole.input, x)
        for layer in model.layers:
            layer.trainable = True  # copies of frozen attention say False, but their inner layers only follow a change
            layer.trainable = layer.name in start
            if layer.name in start:
                layer.set_weights(start[layer.name])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(RATE), loss, jit_compile=False)

        def prepare(rows: np.ndarray) -> Callable[[], float]:
            images, labels = self.images[rows], self.labels[rows]
            return lambda: model.fit(images, labels, BATCH, shuffle=False, verbose=0).history["loss"][0]

        return prepare

    def _bare(self) -> Callable[[np.ndarray], Callable[[], float]]:
        """Returns what makes an epoch of a hand-written step."""
        import keras

        tf, model = tensorflow(), self._tail()
        optimizer = keras.optimizers.Adam(RATE)
        optimizer.build(model.trainable_variables)
        loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        maps = self.bank.rows(self.cut, np.arange(len(self.images)))

        @tf.function
        def step(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = loss_of(y, model(x, training=True))
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            return loss

        def prepare(rows: np.ndarray) -> Callable[[], float]:
            x, y = maps[rows], self.labels[rows]
            parts = [slice(start, start + BATCH) for start in range(0, len(rows), BATCH)]

            def epoch() -> float:
                losses = [float(step(tf.constant(x[part]), tf.constant(y[part]))) * len(y[part]) for part in parts]
                return sum(losses) / len(rows)

            return epoch

        return prepare

    def _tail(self) -> Any:
        """Returns the layers that are trained, with their first weights."""
        return self.head.build(self.bank.tap_shape(self.cut), len(np.unique(self.labels)))

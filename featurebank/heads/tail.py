"""The tail: the backbone's own layers after a cut point, trained on maps that were stored at the cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from featurebank.backbone import load_backbone
from featurebank.backbone.cuts import checked_cut
from featurebank.backbone.random_weights import fill_with_random
from featurebank.errors import HeadError, unknown_name
from featurebank.heads.checks import Check, choice
from featurebank.heads.layered import LayeredHead
from featurebank.runtime import import_tensorflow

INITS = ("pretrained", "fresh")
BATCH_NORMS = ("train", "frozen")


@dataclass(kw_only=True, eq=False, repr=False)
class TailHead(LayeredHead):
    """The layers of a backbone from a cut point to its last map, then pooling, dense layers, softmax.

    Everything before the cut is frozen, so its output is taken from the bank: what is left to compute is the share of
    the work that `featurebank backbones NAME` shows for the cut.

    Args:
        backbone: as `load_backbone` takes it; in a grid, that of the bank.
        cut: the layer whose output the maps are; in a grid it names the tap, too.
        weights: of the backbone, as `image_size` and `preprocessing`.
        image_size: see `weights`.
        preprocessing: see `weights`.
        init: "pretrained" starts from the backbone's weights, "fresh" from random ones.
        train_from: the first layer that is trained, what is between it and the cut stays as it is; None trains all.
        batch_norm: "train" normalises by the batch and moves the statistics, "frozen" leaves these layers as they are.
        learning_rate: see `TrainedHead`, as for all the others.
        pooling: see `LayeredHead`, as for the others there.
    """

    backbone: str = ""
    cut: str = ""
    weights: str | None = None
    image_size: int | None = None
    preprocessing: str | None = None
    init: str = "pretrained"
    train_from: str | None = None
    batch_norm: str = "train"

    def check_layers(self) -> list[Check]:
        """Returns the checks of the parameters that this head adds."""
        return [
            *super().check_layers(),
            *(
                Check(
                    name,
                    getattr(self, name),
                    expected,
                    bool(getattr(self, name)) and isinstance(getattr(self, name), str),
                )
                for name, expected in (("backbone", "the name of a network"), ("cut", "the name of a layer"))
            ),
            choice("init", self.init, INITS),
            choice("batch_norm", self.batch_norm, BATCH_NORMS),
            Check("l2_sp", self.l2_sp, "0 with init fresh", not self.l2_sp or self.init == "pretrained"),
        ]

    def body(self, shape: tuple[int, ...]) -> Any:
        """Returns the backbone's layers after the cut; see `LayeredHead`.

        Raises:
            UnknownNameError: the network has no such layer.
            ConfigError: there is no cut at this layer.
            HeadError: the maps have another shape than the layer's output, or nothing would be trained.
        """
        import_tensorflow()
        import keras

        backbone = load_backbone(
            self.backbone, weights=self.weights, image_size=self.image_size, preprocessing=self.preprocessing
        )
        network = backbone.network()
        cut = checked_cut(network, self.cut)
        if cut.shape != tuple(shape):
            got, expected = (" x ".join(map(str, sides)) for sides in (shape, cut.shape))
            message = (
                f"the maps are {got}, but '{self.cut}' of {self.backbone} gives {expected}: train on the cut's tap"
            )
            raise HeadError(message)
        after = keras.Model(network.get_layer(self.cut).output, network.output)
        tail = keras.models.clone_model(after)
        tail.set_weights(after.get_weights())
        if self.init == "fresh":
            fill_with_random(tail, self.random_state)
        self._set_trainable(tail)
        return tail

    def _set_trainable(self, tail: Any) -> None:
        layers = [layer for layer in tail.layers if type(layer).__name__ != "InputLayer"]
        names = [layer.name for layer in layers]
        if self.train_from is not None and self.train_from not in names:
            raise unknown_name("layer to train from", self.train_from, names, f"they come after '{self.cut}'")
        first = names.index(self.train_from) if self.train_from is not None else 0
        tail.trainable = True
        for number, layer in enumerate(layers):
            frozen_norm = self.batch_norm == "frozen" and type(layer).__name__ == "BatchNormalization"
            layer.trainable = number >= first and not frozen_norm
        if not tail.trainable_variables:
            where = f"from '{self.train_from}'" if self.train_from else f"after '{self.cut}'"
            message = f"no layer {where} has weights to train: take an earlier cut or train_from, or the head softmax"
            raise HeadError(message)

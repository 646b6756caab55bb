"""The tail: the backbone's own layers after a cut point, trained on maps that were stored at the cut."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from featurebank.backbone import Backbone, BackboneOptions, load_network
from featurebank.backbone.keras_networks.cuts import checked_cut
from featurebank.backbone.keras_networks.taps import normalized_pool
from featurebank.backbone.outline import CutPoint
from featurebank.backbone.table import TABLE
from featurebank.backbone.weights.random import fill_with_random
from featurebank.errors import ConfigError, HeadInputError, unknown_name
from featurebank.heads.layered.base import CLASS_MAPS, POOLINGS, LayeredHead
from featurebank.heads.layered.network import train_layered
from featurebank.heads.maps.on_maps import times
from featurebank.heads.maps.stored import MAPS_AND_TOKENS
from featurebank.heads.needs import MAPS_AT_A_CUT
from featurebank.system.runtime import import_tensorflow
from featurebank.system.validation import ParameterCheck, choice

_ADDS_A_NUMBER = 4000
"""Multiply-adds of a last stage for each number of the map before it: ResNet50's after `conv4_block6_out`."""
OWN = "own"
"""The value of `pooling` for what the network itself does."""
_TAPS = {"avg": "map:avg", "max": "map:max", "flatten": "tokens", CLASS_MAPS: "map"}
"""The taps of a transformer that tails with other poolings end in."""
_VECTOR_RANK, _TOKENS_AXES, _BLOCKS = 2, 2, 2
"""Of the outputs (n, d) of a network that pools; of one image's tokens (T, d); of a usual tail of a transformer."""
INITS = ("pretrained", "fresh")
BATCH_NORMS = ("train", "frozen")


@dataclass(kw_only=True, eq=False, repr=False)
class TailHead(LayeredHead):
    """The layers of a backbone from a cut point to its last map, then pooling, dense layers, softmax.

    ConvNeXt pools before its last normalisation, as its own classifier does.

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
        learning_rate: see `TrainingOptions`, as for all the others.
        pooling: see `LayeredHead`, as for the others there. Of a transformer, "own" is what the network itself makes of
            its tokens, such as its class token; "avg", "max" and "class_maps" take the patch tokens, "flatten" all
            tokens. A grid replaces a missing value by "own" for a transformer; in Python, "avg" is the default always.
    """

    backbone: str = ""
    cut: str = ""
    weights: str | None = None
    image_size: int | None = None
    preprocessing: str | None = None
    init: str = "pretrained"
    train_from: str | None = None
    batch_norm: str = "train"

    needs = MAPS_AT_A_CUT
    ranks = MAPS_AND_TOKENS
    poolings = (*POOLINGS, OWN)
    train_heads = train_layered

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        return [
            *super().checks(),
            *(
                ParameterCheck(
                    name,
                    getattr(self, name),
                    expected,
                    bool(getattr(self, name)) and isinstance(getattr(self, name), str),
                )
                for name, expected in (("backbone", "the name of a network"), ("cut", "the name of a layer"))
            ),
            choice("init", self.init, INITS),
            choice("batch_norm", self.batch_norm, BATCH_NORMS),
            ParameterCheck("l2_sp", self.l2_sp, "0 with init fresh", not self.l2_sp or self.init == "pretrained"),
        ]

    def body(self, shape: tuple[int, ...]) -> Any:
        """Returns the backbone's layers after the cut; see `LayeredHead`.

        Raises:
            UnknownNameError: the network has no such layer.
            ConfigError: there is no cut at this layer.
            HeadInputError: the maps have another shape than the layer's output, or nothing would be trained.
        """
        import_tensorflow()
        import keras

        from featurebank.training.programs.keras_step import seed_dropout  # imports TensorFlow at its top

        backbone = load_network(
            self.backbone,
            BackboneOptions(weights=self.weights, image_size=self.image_size, preprocessing=self.preprocessing),
        )
        self.check_maps(self.checked_cut(backbone.network()), shape)
        trained = self.checked_layers(backbone)
        after = self._after(backbone)
        tail = keras.models.clone_model(after)
        tail.set_weights(after.get_weights())
        if self.init == "fresh":
            fill_with_random(tail, self.random_state, is_transformer=bool(backbone.spec.pooling))
        seed_dropout(tail, self.random_state)
        tail.trainable = True
        for layer in _layers(tail):
            layer.trainable = True  # copies of frozen attention say False, but their inner layers only follow a change
            layer.trainable = layer.name in trained
        return tail

    def stem_cost(self, shape: tuple[int, ...]) -> tuple[float, int]:
        """Returns about how many multiply-adds a network's last layers take for one image, and their usual channels."""
        if len(shape) == _TOKENS_AXES:
            tokens, width = shape
            return float(_BLOCKS * tokens * width * (12 * width + 2 * tokens)), width
        return _ADDS_A_NUMBER * math.prod(shape), 1000

    def pooled(self, body: Any) -> Any:
        """Pools as the backbone's own classifier does, which may normalise after it; see `LayeredHead`."""
        if len(body.output.shape) == _VECTOR_RANK:  # of a transformer
            return body.output
        spec = TABLE.get(self.backbone)
        if spec is None or not spec.normalizes_average or type(body.layers[-1]).__name__ != "LayerNormalization":
            return super().pooled(body)  # of a cut after the last normalisation there is no other map to pool
        return normalized_pool(body, "max" if self.pooling == "max" else "avg", "head_pool")

    def checked_cut(self, network: Any) -> CutPoint:
        """Returns the cut point.

        Args:
            network: that of the backbone.

        Raises:
            UnknownNameError: the network has no such layer.
            ConfigError: there is no cut at this layer.
        """
        return checked_cut(network, self.cut)

    def check_maps(self, cut: CutPoint, shape: tuple[int, ...]) -> None:
        """Raises HeadInputError where maps of a shape (h, w, c) are not what comes out of the cut."""
        if cut.shape != tuple(shape):
            got, gives = times(shape), times(cut.shape)
            message = f"the maps are {got}, but '{self.cut}' of {self.backbone} gives {gives}: train on the cut's tap"
            raise HeadInputError(message)

    def checked_layers(self, backbone: Backbone) -> set[str]:
        """Returns the names of the layers after the cut that are trained.

        Args:
            backbone: its network has a cut point at `cut`.

        Raises:
            UnknownNameError: `train_from` is none of the layers after the cut.
            HeadInputError: nothing would be trained.
            ConfigError: the network has no patch tokens to pool.
        """
        layers = _layers(self._after(backbone))
        names = [layer.name for layer in layers]
        if self.train_from is not None and self.train_from not in names:
            raise unknown_name("layer to train from", self.train_from, names, f"they come after '{self.cut}'")
        first = names.index(self.train_from) if self.train_from is not None else 0
        frozen = {"BatchNormalization"} if self.batch_norm == "frozen" else set()
        trained = [layer for layer in layers[first:] if type(layer).__name__ not in frozen]
        if not any(layer.weights for layer in trained) and self.pooling != CLASS_MAPS:
            where = f"from '{self.train_from}'" if self.train_from else f"after '{self.cut}'"
            message = f"no layer {where} has weights to train: take an earlier cut or train_from, or the head softmax"
            raise HeadInputError(message)
        return {layer.name for layer in trained}

    def _after(self, backbone: Backbone) -> Any:
        import keras

        start, end = backbone.network().get_layer(self.cut).output, self.end(backbone)
        if start is end:
            maps = keras.Input(start.shape[1:])
            return keras.Model(maps, keras.layers.Activation("linear", name="map")(maps))
        return keras.Model(start, end)

    def end(self, backbone: Backbone) -> Any:
        """Returns the output of the network that is pooled; of a transformer, what is pooled from its tokens.

        Args:
            backbone: the tail's.

        Raises:
            ConfigError: the network has no patch tokens that could be pooled so.
        """
        output = backbone.network().output
        if len(output.shape) > _VECTOR_RANK or self.pooling == OWN:
            return output
        tap = _TAPS[self.pooling]
        try:
            return backbone.tap_model([tap]).output[tap]
        except ConfigError as error:
            message = f"pooling is '{self.pooling}', but {error}; or leave the pooling to the network: '{OWN}'"
            raise ConfigError(message) from error


def _layers(model: Any) -> list[Any]:
    return [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]

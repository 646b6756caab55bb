"""The kinds of vision networks of transformers that can be backbones, and what every other one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from featurebank.backbone.taps import ATTENTION, CLASS_TOKEN, MEAN_OF_PATCHES, NORMALIZED_MEAN
from featurebank.errors import ConfigError
from featurebank.words import one_line

POOLER, CLASS, MEAN, CLASS_AND_MEAN = "pooler", "class", "mean", "class and mean"
"""How `pooled` follows from the output of the network: its own pooler, the class token, the mean of the places."""
BOTH = "class token and mean of patches"


@dataclass(frozen=True)
class Kind:
    """A kind of network: one class of transformers.

    Args:
        name: the beginning of the names of its classes, as "ViT".
        pooled: how `pooled` follows from its output.
        pooling: the same as a word of `BackboneSpec.pooling`; empty for the average of the map.
        processor: its image processor if the repository does not name it; see `processors.PROCESSORS`.
        prefix: the number of tokens before the patches, without registers; 0 also for networks of maps.
        registers: the key of its configuration that counts more of them.
        norm: the layer that normalises the tokens, where the network itself normalises only what it pools.
        end: the end of the name of the class.
        section: the key of the configuration of the vision tower, in a model with two towers.
        options: further arguments of the class.
        is_fixed: whether it takes images of one size alone.
        classifier: the same network in a repository with a classifier, where that pools otherwise.
    """

    name: str
    pooled: str
    pooling: str = ""
    processor: str = "ViT"
    prefix: int = 0
    registers: str = ""
    norm: str = ""
    end: str = "Model"
    section: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    is_fixed: bool = False
    classifier: Kind | None = None

    @property
    def network(self) -> str:
        """The name of the class."""
        return f"{self.name}{self.end}"

    @property
    def config(self) -> str:
        """The name of the class of its configuration."""
        return f"{self.name}{self.end.removesuffix('Model')}Config"

    def pooling_of(self, values: Mapping[str, Any]) -> str:
        """Returns how a network of this kind pools: a word of `BackboneSpec.pooling`.

        Args:
            values: the values of its configuration.
        """
        if self.pooling == NORMALIZED_MEAN and not values.get("use_mean_pooling", True):
            return CLASS_TOKEN  # BEiT without the mean
        if values.get("pooling_type") == "max":
            return "maximum of patches"  # an EfficientNet may do so
        if self.pooling == ATTENTION and not values.get("vision_use_head", True):
            return MEAN_OF_PATCHES  # SigLIP without its pooling head
        return self.pooling


_PLAIN, _WITH_POOLER = {"add_pooling_layer": False}, {"add_pooling_layer": True}
_VIT = Kind("ViT", CLASS, CLASS_TOKEN, prefix=1, options=_PLAIN)
_BEIT = Kind("Beit", POOLER, NORMALIZED_MEAN, "Beit", 1, options=_WITH_POOLER)
_DATA2VEC = replace(_BEIT, name="Data2VecVision")
_DINOV2 = Kind("Dinov2", POOLER, CLASS_TOKEN, "Bit", 1)
_CLIP = Kind("CLIP", POOLER, CLASS_TOKEN, "CLIP", 1, norm="post_layernorm", end="VisionModel")
_SIGLIP = Kind("Siglip", POOLER, ATTENTION, "Siglip", end="VisionModel")


def _both(kind: Kind) -> Kind:
    """Adds that a repository with a classifier takes the class token and the mean of the patches side by side."""
    return replace(kind, classifier=replace(kind, pooled=CLASS_AND_MEAN, pooling=BOTH))


def _or_mean(kind: Kind) -> Kind:
    """Adds that a repository with a classifier takes the mean of the patches, as the last block gives them."""
    return replace(kind, classifier=replace(kind, pooled=MEAN, pooling=MEAN_OF_PATCHES, norm=""))


_TOWERS = {
    "chinese_clip": replace(_CLIP, name="ChineseCLIP", processor="ChineseCLIP"),
    "clip": _or_mean(_CLIP),
    "metaclip_2": _or_mean(replace(_CLIP, name="MetaClip2")),
    "siglip": _or_mean(_SIGLIP),
}
KINDS = {
    "beit": _BEIT,
    "bit": Kind("Bit", POOLER, processor="Bit"),
    "convnext": Kind("ConvNext", POOLER, NORMALIZED_MEAN, "ConvNext"),
    "convnextv2": Kind("ConvNextV2", POOLER, NORMALIZED_MEAN, "ConvNext"),
    "data2vec-vision": replace(_DATA2VEC, pooled=MEAN, pooling=MEAN_OF_PATCHES, options={}, classifier=_DATA2VEC),
    "deit": replace(_VIT, name="DeiT", processor="DeiT", prefix=2),
    "dinov2": _both(_DINOV2),
    "dinov2_with_registers": _both(replace(_DINOV2, name="Dinov2WithRegisters", registers="num_register_tokens")),
    "dinov3_convnext": Kind("DINOv3ConvNext", POOLER, CLASS_TOKEN, "DINOv3ViT", 1),
    "dinov3_vit": Kind("DINOv3ViT", POOLER, CLASS_TOKEN, "DINOv3ViT", 1, registers="num_register_tokens"),
    "efficientnet": Kind("EfficientNet", POOLER, processor="EfficientNet"),
    "focalnet": Kind("FocalNet", POOLER, MEAN_OF_PATCHES, "Bit"),
    "hiera": Kind("Hiera", POOLER, NORMALIZED_MEAN, "Bit"),
    "ijepa": Kind("IJepa", MEAN, MEAN_OF_PATCHES),
    "levit": Kind("Levit", POOLER, MEAN_OF_PATCHES, "Levit", is_fixed=True),
    "mobilenet_v1": Kind("MobileNetV1", POOLER, processor="MobileNetV1"),
    "mobilenet_v2": Kind("MobileNetV2", POOLER, processor="MobileNetV2"),
    "mobilevit": Kind("MobileViT", POOLER, processor="MobileViT"),
    "mobilevitv2": Kind("MobileViTV2", POOLER, processor="MobileViT"),
    "pvt": Kind("Pvt", CLASS, CLASS_TOKEN, "Pvt", 1),
    "pvt_v2": Kind("PvtV2", MEAN, processor="Pvt"),
    "regnet": Kind("RegNet", POOLER, processor="ConvNext"),
    "resnet": Kind("ResNet", POOLER, processor="ConvNext"),
    "segformer": Kind("Segformer", MEAN, processor="Segformer"),
    "swin": Kind("Swin", POOLER, MEAN_OF_PATCHES),
    "swinv2": Kind("Swinv2", POOLER, MEAN_OF_PATCHES),
    "vit": _VIT,
    "vit_mae": _VIT,  # without masks and its decoder, it is a ViT
    "vit_msn": Kind("ViTMSN", CLASS, CLASS_TOKEN, prefix=1),
    **{word: replace(kind, section="vision_config") for word, kind in _TOWERS.items()},
    **{f"{word}_vision_model": kind for word, kind in _TOWERS.items()},
}
"""The kinds by the `model_type` of config.json."""

_TASKS = {
    "ForObjectDetection": "detects objects",
    "Segmentation": "segments images",
    "ForDepthEstimation": "estimates depths",
    "ForKeypoint": "finds key points",
    "ForVideo": "classifies videos",
    "ForAudio": "classifies sounds",
    "ForCTC": "recognises speech",
    "ForSpeech": "recognises speech",
    "ForCausalLM": "writes text",
    "ForConditionalGeneration": "writes text",
    "ForImageTextToText": "writes text",
    "ForMaskedLM": "reads text",
    "ForSequenceClassification": "classifies text",
    "ForTokenClassification": "classifies words",
    "ForQuestionAnswering": "answers questions",
    "ForMultipleChoice": "answers questions",
    "ForImageToImage": "makes images",
    "ForImageSuperResolution": "makes images",
}
"""What a network does, by a part of the name of its class, where it does something other than to describe an image."""
_OF_TIMM = "is a network of timm: use timm:NAME"
_FLEXIBLE = (
    "takes patches and masks, which are several inputs, in place of an image: use a SigLIP 2 of a fixed size, as "
    "hf:google/siglip2-base-patch16-224"
)
_INSTEAD = {
    "timm_wrapper": _OF_TIMM,
    "timm_backbone": _OF_TIMM,
    "siglip2": _FLEXIBLE,
    "siglip2_vision_model": _FLEXIBLE,
}
"""What networks of other types are, and what can be done instead."""


def kind_of(config: Mapping[str, Any], origin: str) -> Kind:
    """Returns the kind of a network.

    Args:
        config: the content of config.json.
        origin: the network's name in messages.

    Raises:
        ConfigError: it cannot be a backbone; the message says what it is.

    Example:
        >>> kind_of({"model_type": "swinv2"}, "hf:example").network
        'Swinv2Model'
    """
    if config.get("auto_map"):
        message = (
            f"{origin} needs code of its repository ('auto_map' in config.json), which featurebank never runs: use a "
            "model that transformers contains, or build this one in a function of your own, MODULE:FUNCTION"
        )
        raise ConfigError(message)
    if config.get("quantization_config"):
        message = f"{origin} has quantised weights: expected floating point; use the model that it was made from"
        raise ConfigError(message)
    word, classes = config.get("model_type"), config.get("architectures")
    architecture = str(classes[0]) if isinstance(classes, list) and classes else ""
    task = next((does for part, does in _TASKS.items() if part in architecture), "")
    if not isinstance(word, str) or word not in KINDS or task:
        _refuse(str(word or ""), architecture, task, origin)
    kind = KINDS[word]
    if kind.classifier is None or "ForImageClassification" not in architecture:
        return kind
    return replace(kind.classifier, section=kind.section)


def _refuse(word: str, architecture: str, task: str, origin: str) -> NoReturn:
    name = one_line(f"{architecture or 'a model'} of type '{word}'", 100)
    if not word:
        what = "its config.json has no 'model_type'"
    elif task:
        what = f"it is {name}, which {task}"
    else:
        what = f"it {_INSTEAD[word]}" if word in _INSTEAD else f"it is {name}, which cannot be a backbone"
    message = f"{origin}: {what}; known are the vision networks of transformers of type {', '.join(sorted(KINDS))}"
    raise ConfigError(message)


def patch_side(kind: Kind, values: Mapping[str, Any]) -> int:
    """Returns the side of the patches of a network of tokens; 0 if it has none."""
    patch = values.get("patch_size")
    return patch if type(patch) is int and kind.prefix else 0

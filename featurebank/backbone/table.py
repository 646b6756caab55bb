"""The one table of the backbones: everything that is known of a network before it is built."""

from __future__ import annotations

from dataclasses import dataclass

from featurebank.backbone.preprocess import CAFFE, INSIDE, LITE, TF, TORCH


@dataclass(frozen=True)
class BackboneSpec:
    """A network that can be a backbone.

    Args:
        name: how users call it.
        constructor: its name in `keras.applications`; empty for a network of our own.
        image_size: the side in pixels of the images that its ImageNet weights were trained for.
        minimum_size: the smallest side that the network takes.
        channels: the width of the last map, hence of `pooled`.
        parameters: how many numbers its weights hold, without the classifier.
        preprocessing: the identifier of its preprocessing.
        weights_stem: the name of Keras's ImageNet weights file with the classifier, without ".h5".
        notop_suffix: what the name of the file without the classifier has at its end besides.
        has_embedded_weights: whether the ImageNet weights come with the installation.
    """

    name: str
    constructor: str
    image_size: int
    minimum_size: int
    channels: int
    parameters: int
    preprocessing: str
    weights_stem: str
    notop_suffix: str
    has_embedded_weights: bool = False

    @property
    def millions(self) -> float:
        """Millions of parameters, without the classifier."""
        return self.parameters / 1e6

    @property
    def divides_by_deviation(self) -> bool:
        """Whether the ImageNet weights expect one more division than the network without weights has (B0 to B7)."""
        return self.name.startswith("efficientnet_b")

    def weights_file(self, *, top: bool = False) -> str:
        """Returns the name of the file with the ImageNet weights."""
        if self.has_embedded_weights:
            return self.weights_stem
        return f"{self.weights_stem}{'' if top else self.notop_suffix}.h5"


_TF = "_weights_tf_dim_ordering_tf_kernels"
_V3 = "weights_mobilenet_v3"
_V3_END = "_224_1.0_float"

# fmt: off
_APPLICATIONS = (
    # name, constructor, image size, minimum, channels, parameters, preprocessing, weights file, its suffix without top
    ("resnet50", "ResNet50", 224, 32, 2048, 23_587_712, CAFFE, f"resnet50{_TF}", "_notop"),
    ("resnet101", "ResNet101", 224, 32, 2048, 42_658_176, CAFFE, f"resnet101{_TF}", "_notop"),
    ("resnet152", "ResNet152", 224, 32, 2048, 58_370_944, CAFFE, f"resnet152{_TF}", "_notop"),
    ("resnet50_v2", "ResNet50V2", 224, 32, 2048, 23_564_800, TF, f"resnet50v2{_TF}", "_notop"),
    ("resnet101_v2", "ResNet101V2", 224, 32, 2048, 42_626_560, TF, f"resnet101v2{_TF}", "_notop"),
    ("resnet152_v2", "ResNet152V2", 224, 32, 2048, 58_331_648, TF, f"resnet152v2{_TF}", "_notop"),
    ("vgg16", "VGG16", 224, 32, 512, 14_714_688, CAFFE, f"vgg16{_TF}", "_notop"),
    ("vgg19", "VGG19", 224, 32, 512, 20_024_384, CAFFE, f"vgg19{_TF}", "_notop"),
    ("mobilenet", "MobileNet", 224, 32, 1024, 3_228_864, TF, "mobilenet_1_0_224_tf", "_no_top"),
    ("mobilenet_v2", "MobileNetV2", 224, 32, 1280, 2_257_984, TF, f"mobilenet_v2{_TF}_1.0_224", "_no_top"),
    ("mobilenet_v3_small", "MobileNetV3Small", 224, 32, 576, 939_120, INSIDE, f"{_V3}_small{_V3_END}", "_no_top_v2"),
    ("mobilenet_v3_large", "MobileNetV3Large", 224, 32, 960, 2_996_352, INSIDE, f"{_V3}_large{_V3_END}", "_no_top_v2"),
    ("densenet121", "DenseNet121", 224, 32, 1024, 7_037_504, TORCH, f"densenet121{_TF}", "_notop"),
    ("densenet169", "DenseNet169", 224, 32, 1664, 12_642_880, TORCH, f"densenet169{_TF}", "_notop"),
    ("densenet201", "DenseNet201", 224, 32, 1920, 18_321_984, TORCH, f"densenet201{_TF}", "_notop"),
    ("efficientnet_b0", "EfficientNetB0", 224, 32, 1280, 4_049_571, INSIDE, "efficientnetb0", "_notop"),
    ("efficientnet_b1", "EfficientNetB1", 240, 32, 1280, 6_575_239, INSIDE, "efficientnetb1", "_notop"),
    ("efficientnet_b2", "EfficientNetB2", 260, 32, 1408, 7_768_569, INSIDE, "efficientnetb2", "_notop"),
    ("efficientnet_b3", "EfficientNetB3", 300, 32, 1536, 10_783_535, INSIDE, "efficientnetb3", "_notop"),
    ("efficientnet_b4", "EfficientNetB4", 380, 32, 1792, 17_673_823, INSIDE, "efficientnetb4", "_notop"),
    ("efficientnet_b5", "EfficientNetB5", 456, 32, 2048, 28_513_527, INSIDE, "efficientnetb5", "_notop"),
    ("efficientnet_b6", "EfficientNetB6", 528, 32, 2304, 40_960_143, INSIDE, "efficientnetb6", "_notop"),
    ("efficientnet_b7", "EfficientNetB7", 600, 32, 2560, 64_097_687, INSIDE, "efficientnetb7", "_notop"),
    ("efficientnet_v2_b0", "EfficientNetV2B0", 224, 32, 1280, 5_919_312, INSIDE, "efficientnetv2-b0", "_notop"),
    ("efficientnet_v2_b1", "EfficientNetV2B1", 240, 32, 1280, 6_931_124, INSIDE, "efficientnetv2-b1", "_notop"),
    ("efficientnet_v2_b2", "EfficientNetV2B2", 260, 32, 1408, 8_769_374, INSIDE, "efficientnetv2-b2", "_notop"),
    ("efficientnet_v2_b3", "EfficientNetV2B3", 300, 32, 1536, 12_930_622, INSIDE, "efficientnetv2-b3", "_notop"),
    ("efficientnet_v2_s", "EfficientNetV2S", 384, 32, 1280, 20_331_360, INSIDE, "efficientnetv2-s", "_notop"),
    ("efficientnet_v2_m", "EfficientNetV2M", 480, 32, 1280, 53_150_388, INSIDE, "efficientnetv2-m", "_notop"),
    ("efficientnet_v2_l", "EfficientNetV2L", 480, 32, 1280, 117_746_848, INSIDE, "efficientnetv2-l", "_notop"),
    ("convnext_tiny", "ConvNeXtTiny", 224, 32, 768, 27_820_128, INSIDE, "convnext_tiny", "_notop"),
    ("convnext_small", "ConvNeXtSmall", 224, 32, 768, 49_454_688, INSIDE, "convnext_small", "_notop"),
    ("convnext_base", "ConvNeXtBase", 224, 32, 1024, 87_566_464, INSIDE, "convnext_base", "_notop"),
    ("convnext_large", "ConvNeXtLarge", 224, 32, 1536, 196_230_336, INSIDE, "convnext_large", "_notop"),
    ("convnext_xlarge", "ConvNeXtXLarge", 224, 32, 2048, 348_147_968, INSIDE, "convnext_xlarge", "_notop"),
    ("inception_v3", "InceptionV3", 299, 75, 2048, 21_802_784, TF, f"inception_v3{_TF}", "_notop"),
    ("inception_resnet_v2", "InceptionResNetV2", 299, 75, 1536, 54_336_736, TF, f"inception_resnet_v2{_TF}", "_notop"),
    ("xception", "Xception", 299, 71, 2048, 20_861_480, TF, f"xception{_TF}", "_notop"),
    ("nasnet_mobile", "NASNetMobile", 224, 32, 1056, 4_269_716, TF, "nasnet_mobile", "_no_top"),
    ("nasnet_large", "NASNetLarge", 331, 32, 4032, 84_916_818, TF, "nasnet_large", "_no_top"),
)
# fmt: on

_LITE = BackboneSpec(
    name="efficientnet_lite0",
    constructor="",
    image_size=224,
    minimum_size=32,
    channels=1280,
    parameters=3_413_024,
    preprocessing=LITE,
    weights_stem="efficientnet-lite0-57934424.pth",
    notop_suffix="",
    has_embedded_weights=True,
)

TABLE: dict[str, BackboneSpec] = {spec.name: spec for spec in (_LITE, *(BackboneSpec(*row) for row in _APPLICATIONS))}
"""Every backbone by name, the default first."""

"""The classification networks of `keras.applications`, as flat graphs that take RGB from 0 to 255."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurebank.backbone.keras_networks.graph import name_as_in_new_process
from featurebank.backbone.keras_networks.spec import KerasSpec
from featurebank.backbone.preprocess import CAFFE, INSIDE, TF, TORCH
from featurebank.backbone.weights.files import first_line, is_whole_hdf5, keras_folders, load_keras
from featurebank.errors import WeightsError
from featurebank.system.downloads import keras_downloads

# Keras adds this division to EfficientNet only where it loads the weights of ImageNet itself.
_EFFICIENTNET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Application(KerasSpec):
    """A network of `keras.applications`.

    Args:
        constructor: name of its function in `keras.applications`.
        weights_stem: name of Keras's ImageNet weights file with the classifier, without ".h5".
        notop_suffix: what Keras appends to that name for the file without the classifier.
    """

    constructor: str
    weights_stem: str
    notop_suffix: str

    @property
    def has_fixed_classifier(self) -> bool:
        """Whether the classifier flattens a map of one size."""
        return self.constructor in {"VGG16", "VGG19"}

    @property
    def normalizes_average(self) -> bool:
        """Whether `pooled` is a normalised average; see `KerasSpec`."""
        return self.constructor.startswith("ConvNeXt")

    @property
    def identity(self) -> str:
        """The architecture in recipes; "v1" of ConvNeXt had the average of the normalised map as `pooled`."""
        return f"{self.name}:v2" if self.normalizes_average else super().identity

    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network to a graph; see `KerasSpec.build`."""
        import keras

        with warnings.catch_warnings():
            # MobileNet warns that it would load the weights for 224 pixels, as it should.
            warnings.simplefilter("ignore")
            model = getattr(keras.applications, self.constructor)(
                weights=None, include_top=top, input_tensor=prepared, input_shape=tuple(prepared.shape[1:])
            )
        name_as_in_new_process(model)
        return model.output

    def finish(self, model: Any) -> Any:
        """Brings a network with its weights into its final form.

        EfficientNet B0 to B7 get the division that their ImageNet weights expect; nested Sequential parts (ConvNeXt's
        downsampling) are unfolded, so that every layer can be reached by name. Weights files follow the order of the
        unfinished network, so this comes after loading.

        Returns:
            The model itself if there is nothing to do, otherwise a new one with the same weights.
        """
        import keras

        divides = self.constructor.startswith("EfficientNetB")
        if not divides and not any(hasattr(layer, "layers") for layer in model.layers):
            return model

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(layer, keras.Sequential):
                (x,) = args
                for part in layer.layers:
                    x = type(part).from_config(part.get_config())(x)
                return x
            x = layer(*args, **kwargs)
            if divides and isinstance(layer, keras.layers.Normalization):
                scale = [1 / math.sqrt(deviation) for deviation in _EFFICIENTNET_DEVIATION]
                x = keras.layers.Rescaling(scale, name="deviation")(x)
            return x

        finished = keras.models.clone_model(model, call_function=call)
        finished.set_weights(model.get_weights())
        return finished

    def load(self, model: Any, path: Path | None, *, top: bool) -> None:
        """Loads weights; the file may also be of the network in its final form, as featurebank's users save it."""
        try:
            super().load(model, path, top=top)
        except WeightsError:
            finished = self.finish(model)
            if path is None or finished is model:
                raise
            load_keras(finished, path, self.name, top=top)
            model.set_weights(finished.get_weights())

    def weights_file(self, *, top: bool = False) -> str:
        """Returns Keras's name of the file with the ImageNet weights."""
        return f"{self.weights_stem}{'' if top else self.notop_suffix}.h5"

    def own_file(self, *, top: bool) -> Path:
        """Returns the path of the ImageNet weights; Keras downloads them if they are missing."""
        if (place := self._present(top=top)) is not None:
            return place
        reason = self._download(top=top)
        if (place := self._present(top=top)) is not None:
            return place
        name = self.weights_file(top=top)
        message = (
            f"the ImageNet weights of {self.name} are missing: '{name}' could not be downloaded ({reason}); "
            f"put the file at '{keras_folders()[0] / name}', or use --weights random:0"
        )
        raise WeightsError(message)

    @property
    def must_download(self) -> bool:
        """Whether the ImageNet weights are in none of Keras's folders."""
        return self._present(top=False) is None

    def _present(self, *, top: bool) -> Path | None:
        places = [folder / self.weights_file(top=top) for folder in keras_folders()]
        return next((place for place in places if is_whole_hdf5(place)), None)

    def _download(self, *, top: bool) -> str:
        """Lets Keras download a weights file; returns the reason of a failure, or ""."""
        try:
            what = f"downloading {self.weights_file(top=top)}"
            with keras_downloads(what) as keras, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MobileNet warns that it loads weights for 224 pixels, as it should
                getattr(keras.applications, self.constructor)(weights="imagenet", include_top=top)
        except Exception as error:  # noqa: BLE001 - Keras raises bare Exception if a download fails
            return first_line(error)
        return "Keras put it elsewhere"


_TF = "_weights_tf_dim_ordering_tf_kernels"
_V3 = "weights_mobilenet_v3"
_V3_END = "_224_1.0_float"

# fmt: off
_ROWS = (
    # name, image size, minimum, channels, parameters, preprocessing, constructor, weights file, its suffix without top
    ("resnet50", 224, 32, 2048, 23_587_712, CAFFE, "ResNet50", f"resnet50{_TF}", "_notop"),
    ("resnet101", 224, 32, 2048, 42_658_176, CAFFE, "ResNet101", f"resnet101{_TF}", "_notop"),
    ("resnet152", 224, 32, 2048, 58_370_944, CAFFE, "ResNet152", f"resnet152{_TF}", "_notop"),
    ("resnet50_v2", 224, 32, 2048, 23_564_800, TF, "ResNet50V2", f"resnet50v2{_TF}", "_notop"),
    ("resnet101_v2", 224, 32, 2048, 42_626_560, TF, "ResNet101V2", f"resnet101v2{_TF}", "_notop"),
    ("resnet152_v2", 224, 32, 2048, 58_331_648, TF, "ResNet152V2", f"resnet152v2{_TF}", "_notop"),
    ("vgg16", 224, 32, 512, 14_714_688, CAFFE, "VGG16", f"vgg16{_TF}", "_notop"),
    ("vgg19", 224, 32, 512, 20_024_384, CAFFE, "VGG19", f"vgg19{_TF}", "_notop"),
    ("mobilenet", 224, 32, 1024, 3_228_864, TF, "MobileNet", "mobilenet_1_0_224_tf", "_no_top"),
    ("mobilenet_v2", 224, 32, 1280, 2_257_984, TF, "MobileNetV2", f"mobilenet_v2{_TF}_1.0_224", "_no_top"),
    ("mobilenet_v3_small", 224, 32, 576, 939_120, INSIDE, "MobileNetV3Small", f"{_V3}_small{_V3_END}", "_no_top_v2"),
    ("mobilenet_v3_large", 224, 32, 960, 2_996_352, INSIDE, "MobileNetV3Large", f"{_V3}_large{_V3_END}", "_no_top_v2"),
    ("densenet121", 224, 32, 1024, 7_037_504, TORCH, "DenseNet121", f"densenet121{_TF}", "_notop"),
    ("densenet169", 224, 32, 1664, 12_642_880, TORCH, "DenseNet169", f"densenet169{_TF}", "_notop"),
    ("densenet201", 224, 32, 1920, 18_321_984, TORCH, "DenseNet201", f"densenet201{_TF}", "_notop"),
    ("efficientnet_b0", 224, 32, 1280, 4_049_571, INSIDE, "EfficientNetB0", "efficientnetb0", "_notop"),
    ("efficientnet_b1", 240, 32, 1280, 6_575_239, INSIDE, "EfficientNetB1", "efficientnetb1", "_notop"),
    ("efficientnet_b2", 260, 32, 1408, 7_768_569, INSIDE, "EfficientNetB2", "efficientnetb2", "_notop"),
    ("efficientnet_b3", 300, 32, 1536, 10_783_535, INSIDE, "EfficientNetB3", "efficientnetb3", "_notop"),
    ("efficientnet_b4", 380, 32, 1792, 17_673_823, INSIDE, "EfficientNetB4", "efficientnetb4", "_notop"),
    ("efficientnet_b5", 456, 32, 2048, 28_513_527, INSIDE, "EfficientNetB5", "efficientnetb5", "_notop"),
    ("efficientnet_b6", 528, 32, 2304, 40_960_143, INSIDE, "EfficientNetB6", "efficientnetb6", "_notop"),
    ("efficientnet_b7", 600, 32, 2560, 64_097_687, INSIDE, "EfficientNetB7", "efficientnetb7", "_notop"),
    ("efficientnet_v2_b0", 224, 32, 1280, 5_919_312, INSIDE, "EfficientNetV2B0", "efficientnetv2-b0", "_notop"),
    ("efficientnet_v2_b1", 240, 32, 1280, 6_931_124, INSIDE, "EfficientNetV2B1", "efficientnetv2-b1", "_notop"),
    ("efficientnet_v2_b2", 260, 32, 1408, 8_769_374, INSIDE, "EfficientNetV2B2", "efficientnetv2-b2", "_notop"),
    ("efficientnet_v2_b3", 300, 32, 1536, 12_930_622, INSIDE, "EfficientNetV2B3", "efficientnetv2-b3", "_notop"),
    ("efficientnet_v2_s", 384, 32, 1280, 20_331_360, INSIDE, "EfficientNetV2S", "efficientnetv2-s", "_notop"),
    ("efficientnet_v2_m", 480, 32, 1280, 53_150_388, INSIDE, "EfficientNetV2M", "efficientnetv2-m", "_notop"),
    ("efficientnet_v2_l", 480, 32, 1280, 117_746_848, INSIDE, "EfficientNetV2L", "efficientnetv2-l", "_notop"),
    ("convnext_tiny", 224, 32, 768, 27_820_128, INSIDE, "ConvNeXtTiny", "convnext_tiny", "_notop"),
    ("convnext_small", 224, 32, 768, 49_454_688, INSIDE, "ConvNeXtSmall", "convnext_small", "_notop"),
    ("convnext_base", 224, 32, 1024, 87_566_464, INSIDE, "ConvNeXtBase", "convnext_base", "_notop"),
    ("convnext_large", 224, 32, 1536, 196_230_336, INSIDE, "ConvNeXtLarge", "convnext_large", "_notop"),
    ("convnext_xlarge", 224, 32, 2048, 348_147_968, INSIDE, "ConvNeXtXLarge", "convnext_xlarge", "_notop"),
    ("inception_v3", 299, 75, 2048, 21_802_784, TF, "InceptionV3", f"inception_v3{_TF}", "_notop"),
    ("inception_resnet_v2", 299, 75, 1536, 54_336_736, TF, "InceptionResNetV2", f"inception_resnet_v2{_TF}", "_notop"),
    ("xception", 299, 71, 2048, 20_861_480, TF, "Xception", f"xception{_TF}", "_notop"),
    ("nasnet_mobile", 224, 32, 1056, 4_269_716, TF, "NASNetMobile", "nasnet_mobile", "_no_top"),
    ("nasnet_large", 331, 32, 4032, 84_916_818, TF, "NASNetLarge", "nasnet_large", "_no_top"),
)
# fmt: on

NETWORKS = tuple(Application(*row) for row in _ROWS)

"""The formats of model files: each format writes a graft, reads the file again, and runs it on images."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from featurebank.backbone.keras_networks.keras_file import load_keras_file
from featurebank.backbone.network import FORMS as NETWORK_FORMS
from featurebank.errors import ConfigError
from featurebank.grafting.certainty.embedding import ModelOutputs, outputs_of, with_embedding
from featurebank.grafting.converters import (
    check_installed,
    explain_missing_extra,
    quiet,
    save_openvino,
    to_onnx,
    to_openvino,
    to_tflite,
)
from featurebank.grafting.foreign.graft import ForeignGraft
from featurebank.grafting.foreign.onnx_model import foreign_to_onnx
from featurebank.grafting.guard import check_onnx, check_tflite
from featurebank.grafting.metadata import KEY, add_member, operation_in, read_member
from featurebank.grafting.side_by_side import load_joined
from featurebank.system.imports.openvino import compile_model, import_openvino, preserve_signal_stack
from featurebank.system.model_files.checksum import (
    check_onnx_seal,
    check_openvino_seal,
    check_tflite_seal,
    seal_onnx,
    seal_openvino,
    seal_tflite,
)
from featurebank.system.model_files.openvino_file import check_openvino
from featurebank.system.model_files.trial import try_reading
from featurebank.system.runtime import import_tensorflow, threads
from featurebank.system.stderr import without_greetings
from featurebank.words import counted

Run = Callable[[np.ndarray], ModelOutputs]
"""(n, s, s, 3) float32 RGB 0..255 -> (n, classes) float32, and the features if the file returns them."""


class Format(ABC):
    """One kind of model file."""

    suffix: ClassVar[str]
    needs_layers: ClassVar[bool] = True
    """Whether the graft must be one Keras model."""
    holds_resize: ClassVar[bool] = False
    """Whether a model of a network of Keras can resize images of any size."""
    returns_features: ClassVar[bool] = False
    """Whether the features must be a second output of the model; other formats can look inside it."""
    forms: ClassVar[tuple[str, ...]] = ("keras",)
    """What the network can be made in; see `Backbone.form`."""

    extra: ClassVar[str] = ""
    """The extra of featurebank that installs the packages."""
    packages: ClassVar[tuple[str, ...]] = ()
    """The optional packages that the format needs."""

    def check(self) -> None:
        """Checks that the packages of the format are installed, without importing them.

        Raises:
            MissingDependencyError: a package is not installed.
        """
        check_installed(self.extra, *self.packages)

    @abstractmethod
    def write(self, model: Any, path: Path, text: str) -> None:
        """Writes a model, with its metadata as text.

        Raises:
            MissingDependencyError: a package is not installed.
        """

    @abstractmethod
    def read(self, path: Path) -> tuple[Run, str | None]:
        """Returns a function that runs the model of a file, and the file's metadata; None if it has none."""

    def files(self, path: Path) -> list[Path]:
        """Returns the files that one model consists of; the last is the one that users open."""
        return [path]


class KerasFormat(Format):
    """Keras's own format, a ZIP archive; the metadata is one more member of it."""

    suffix = ".keras"
    holds_resize = True

    def write(self, model: Any, path: Path, text: str) -> None:
        """Writes a model; see `Format`."""
        model.save(path)
        add_member(path, text)

    def read(self, path: Path) -> tuple[Run, str | None]:
        """Reads a model; see `Format`."""
        model, text = load_keras_file(path), read_member(path)
        if operation := operation_in(text):
            model = with_embedding(model, operation)

        ran = False

        def run(images: np.ndarray) -> ModelOutputs:
            nonlocal ran
            # For whole numbers, oneDNN logs an error at first, although TensorFlow has another kernel.
            with contextlib.nullcontext() if ran or images.dtype != np.uint8 else without_greetings():
                outputs = outputs_of(model.predict_on_batch(images))
            ran = True
            return outputs

        return run, text


class JoinedFormat(Format):
    """A network and a head side by side; see `JoinedModel`."""

    suffix = ".fbmodel"
    needs_layers = False
    forms = tuple(NETWORK_FORMS)

    def write(self, model: Any, path: Path, text: str) -> None:
        """Writes a model; see `Format`."""
        model.save(path, text)

    def read(self, path: Path) -> tuple[Run, str | None]:
        """Reads a model; see `Format`."""
        model = load_joined(path)
        return model.outputs, model.about.to_text()


class OnnxFormat(Format):
    """ONNX, with the text in the file's metadata."""

    suffix = ".onnx"
    returns_features = True
    holds_resize = True
    forms = tuple(NETWORK_FORMS)
    extra = "onnx"
    packages = ("onnx", "tf2onnx", "onnxruntime")

    def write(self, model: Any, path: Path, text: str) -> None:
        """Writes a model; see `Format`."""
        onnx_model = (foreign_to_onnx if isinstance(model, ForeignGraft) else to_onnx)(model, {KEY: text})
        path.write_bytes(seal_onnx(onnx_model.SerializeToString()))

    def read(self, path: Path) -> tuple[Run, str | None]:
        """Reads a model; see `Format`."""
        with explain_missing_extra("onnx"):
            import onnxruntime
        data = path.read_bytes()
        check_onnx_seal(data)
        text = check_onnx(data).get(KEY)
        if text is None:
            return _nothing, None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda images: outputs_of(session.run(None, {name: images})), text


class OpenVINOFormat(Format):
    """OpenVINO's pair of files, with the text in the .xml file."""

    suffix = ".xml"
    returns_features = True
    forms = tuple(NETWORK_FORMS)

    def write(self, model: Any, path: Path, text: str) -> None:
        """Writes a model; see `Format`."""
        if isinstance(model, ForeignGraft):
            save_openvino(model.to_openvino(), path, {KEY: text})
        else:
            to_openvino(model, path, {KEY: text})
        seal_openvino(path)

    def read(self, path: Path) -> tuple[Run, str | None]:
        """Reads a model; see `Format`."""
        weights = check_openvino(path)
        check_openvino_seal(path)
        try_reading([path, *weights])
        core = import_openvino().Core()
        model = core.read_model(path)
        text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
        # By default OpenVINO would compute in bfloat16 on processors that have it.
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads()}
        compiled = compile_model(core, model, options)

        def run(images: np.ndarray) -> ModelOutputs:
            with preserve_signal_stack():
                return outputs_of([np.array(value) for value in compiled(images).values()])

        return run, text

    def files(self, path: Path) -> list[Path]:
        """Returns the .bin and the .xml file."""
        return [path.with_suffix(".bin"), path]


class TFLiteFormat(Format):
    """TensorFlow Lite, with the text in a ZIP archive at its end, like TensorFlow Lite's own metadata."""

    suffix = ".tflite"
    returns_features = True

    def write(self, model: Any, path: Path, text: str) -> None:
        """Writes a model; see `Format`."""
        path.write_bytes(to_tflite(model, path.parent))
        add_member(path, text)
        seal_tflite(path)

    def read(self, path: Path) -> tuple[Run, str | None]:
        """Reads a model; see `Format`."""
        text, content = read_member(path), path.read_bytes()
        if text is None:
            return _nothing, None
        check_tflite_seal(path)
        check_tflite(content)
        tf = import_tensorflow()
        with quiet():  # it warns that another package will replace it
            interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads())
        place, *answers = (d["index"] for d in (*interpreter.get_input_details(), *interpreter.get_output_details()))

        def run(images: np.ndarray) -> ModelOutputs:
            interpreter.resize_tensor_input(place, images.shape)
            with quiet():  # the first call prints a message
                interpreter.allocate_tensors()
            interpreter.set_tensor(place, images)
            interpreter.invoke()
            return outputs_of([interpreter.get_tensor(answer) for answer in answers])

        return run, text


def _nothing(images: np.ndarray) -> ModelOutputs:
    """Replaces the run function of a file without metadata, which is never run."""
    message = f"no model for {counted(len(images), 'image')}"
    raise ConfigError(message)


FORMATS: dict[str, Format] = {
    "keras": KerasFormat(),
    "joined": JoinedFormat(),
    "onnx": OnnxFormat(),
    "openvino": OpenVINOFormat(),
    "tflite": TFLiteFormat(),
}


def format_of(path: Path, name: str | None = None) -> tuple[str, Format]:
    """Returns the format of a file by its suffix.

    Args:
        path: the file.
        name: the required format; None for any.

    Raises:
        ConfigError: no format has this suffix, or it does not fit `name`.
    """
    match = next((pair for pair in FORMATS.items() if pair[1].suffix == path.suffix.lower()), None)
    if name is not None and (match is None or match[0] != name):
        suffix = FORMATS[name].suffix
        message = f"a file of format {name} ends with {suffix}, got '{path}': write it as '{path.stem}{suffix}'"
        raise ConfigError(message)
    if match is None:
        known = ", ".join(f"{kind.suffix} ({name})" for name, kind in FORMATS.items())
        message = f"'{path}' has no suffix of a model format: expected one of {known}"
        raise ConfigError(message)
    return match


def format_to_write(path: Path, name: str | None = None) -> tuple[str, Format]:
    """Returns the format of a file to write, after checking that the file can be written.

    Args:
        path: the file.
        name: the required format; None for any.

    Raises:
        ConfigError: see `format_of`; or the suffix has capital letters, which some programs do not recognise.
        MissingDependencyError: the format needs a package that is not installed.
    """
    format_name, kind = format_of(path, name)
    if path.suffix != kind.suffix:
        message = (
            f"a file of format {format_name} ends with {kind.suffix}, got '{path}': "
            f"write it as '{path.stem}{kind.suffix}'"
        )
        raise ConfigError(message)
    kind.check()
    return format_name, kind

"""Model files of ONNX and OpenVINO: checked, identified by their content, and read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone.weights.files import file_digest
from featurebank.errors import ArchiveError, WeightsError
from featurebank.system import digest
from featurebank.system.files import open_regular
from featurebank.system.imports.openvino import import_openvino, preserve_signal_stack
from featurebank.system.model_files.checksum import check_onnx_seal, check_openvino_seal
from featurebank.system.model_files.onnx_file import check_external, scan_onnx
from featurebank.system.model_files.openvino_file import check_openvino
from featurebank.system.model_files.trial import openvino_line, try_reading

_ABOUT = "featurebank"
"""The entry of the metadata of models that featurebank exported."""


@dataclass(frozen=True)
class ModelFile:
    """A model file that was checked.

    Args:
        path: the .onnx or .xml file.
        digest: the digest of its content, and of the files with its weights.
        files: the file, and those with its weights.
        metadata: its metadata; empty for .xml files, which OpenVINO reads.
    """

    path: Path
    digest: str
    files: tuple[Path, ...]
    metadata: dict[str, str]

    def read(self, side: int | None = None) -> Any:
        """Reads the model; OpenVINO does so in another process first.

        Args:
            side: the side of the images, if the user chose one.

        Returns:
            An `openvino.Model`.

        Raises:
            WeightsError: OpenVINO cannot read it, or it has changed since it was checked.
        """
        if check_model_file(self.path).digest != self.digest:
            message = f"'{self.path}' has changed since it was loaded: load the backbone again"
            raise WeightsError(message)
        try:
            try_reading(self.files, side or 224, digests=[self.digest])
            with preserve_signal_stack():
                return import_openvino().Core().read_model(self.path)
        except (ArchiveError, RuntimeError) as error:
            reason = str(error) if isinstance(error, ArchiveError) else openvino_line(error)
            raise _unreadable(self.path, reason) from error

    def about(self, model: Any) -> dict[str, Any]:
        """Returns what featurebank wrote into a model that it exported; empty for other models.

        Args:
            model: what `read` returned.
        """
        text = self.metadata.get(_ABOUT)
        if text is None and model.has_rt_info([_ABOUT]):
            text = model.get_rt_info([_ABOUT]).astype(str)
        try:
            value = json.loads(text or "{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def check_model_file(path: Path) -> ModelFile:
    """Checks a model file and identifies it; OpenVINO does not open it yet.

    Raises:
        WeightsError: the file or its weights are missing, damaged, no regular file, or lie elsewhere.
    """
    try:
        if path.suffix == ".xml":
            weights, metadata = check_openvino(path), dict[str, str]()
            if weights:
                check_openvino_seal(path)
        else:
            weights, metadata = _check_onnx(path)
    except ArchiveError as error:
        raise _unreadable(path, str(error)) from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    files = (path, *weights)
    content = [file_digest(file) for file in files]
    names = [file.relative_to(path.parent).as_posix() for file in weights] if path.suffix != ".xml" else []
    return ModelFile(path, digest.of_recipe([*content, *names]), files, metadata)


def _check_onnx(path: Path) -> tuple[list[Path], dict[str, str]]:
    with open_regular(path) as file:
        if not path.stat().st_size:
            message = "it is empty"
            raise ArchiveError(message)
        data = np.memmap(file, np.uint8, "r").data
        found = scan_onnx(data)
        check_onnx_seal(data)
    return check_external(path, found), found.metadata


def _unreadable(path: Path, reason: str) -> WeightsError:
    kind = "ONNX" if path.suffix == ".onnx" else "OpenVINO"
    return WeightsError(f"'{path}' cannot be loaded ({reason}): expected a whole model of {kind} that OpenVINO can run")

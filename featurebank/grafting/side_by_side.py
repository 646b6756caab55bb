"""A backbone and a head side by side, for heads that cannot become layers: trees, neighbours, kernels."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone.keras_networks.keras_file import load_keras_file
from featurebank.errors import ArchiveError, ConfigError, FormatVersionError
from featurebank.grafting.certainty.embedding import ModelOutputs, averaged
from featurebank.grafting.foreign.trunks import DESCRIPTION, WEIGHTS, OpenVINOTrunk
from featurebank.grafting.metadata import MEMBER, About, about_from_text
from featurebank.grafting.several.trunks import SeveralTrunks
from featurebank.system.archive import Archive, open_archive
from featurebank.system.model_files.openvino_file import check_openvino
from featurebank.system.model_files.trial import try_reading

_TRUNK, _HEAD = "trunk.keras", "head.head"
_MOST = 9
"""The largest number of networks of a file."""


class JoinedModel:
    """A network and a head with one `predict`; on disk one file without pickle.

    The trunk is the network up to the tap as one model, not an engine: so the file is self-contained, and predicts the
    same on a machine without the bank and its backbone.

    Args:
        trunk: (n, s, s, 3) RGB 0..255 -> the features of a tap: a Keras model, or for a network of another library an
            `OpenVINOTrunk`, or `SeveralTrunks`.
        head: the fitted head.
        about: the metadata of the file.
    """

    def __init__(self, trunk: Any, head: Any, about: About) -> None:
        self.trunk = trunk
        self.head = head
        self.about = about

    def __repr__(self) -> str:
        return f"<JoinedModel {self.about.title}>"

    def predict(self, images: np.ndarray, batch_size: int = 32, verbose: Any = 0) -> np.ndarray:
        """Returns probabilities (n, classes) float32, in the order of `about.classes`.

        Args:
            images: (n, s, s, 3) RGB from 0 to 255; of several networks, uint8 of any size.
            batch_size: the number of images per batch.
            verbose: see Keras's `predict`.
        """
        if not len(images):
            return np.empty((0, len(self.about.classes)), np.float32)
        return self._head_outputs(self.trunk.predict(images, batch_size=batch_size, verbose=verbose)).probabilities

    def outputs(self, images: np.ndarray) -> ModelOutputs:
        """Returns the probabilities of one batch of images, not empty, and their features."""
        return self._head_outputs(self.trunk.predict(images, batch_size=len(images), verbose=0))

    def _head_outputs(self, features: np.ndarray) -> ModelOutputs:
        from featurebank.fitting.scoring import align

        found = self.head.predict_proba(features)
        probabilities = align(found, self.head.classes_, len(self.about.classes)).astype(np.float32)
        return ModelOutputs(probabilities, averaged(features))

    def save(self, path: Path, text: str | None = None) -> None:
        """Writes the file, not atomically; `featurebank.export` does that.

        Args:
            path: the file.
            text: the metadata; default: `about`.

        Raises:
            HeadError: the class of the head cannot be restored safely.
        """
        from featurebank.heads.storage.saving import save_head

        with tempfile.TemporaryDirectory(dir=path.parent) as place, zipfile.ZipFile(path, "w") as archive:
            trunks = self.trunk.trunks if isinstance(self.trunk, SeveralTrunks) else [self.trunk]
            for number, trunk in enumerate(trunks):
                _write_trunk(trunk, archive, Path(place), number)
            save_head(self.head, Path(place, _HEAD))
            archive.write(Path(place, _HEAD), _HEAD)
            archive.writestr(MEMBER, text or self.about.to_text())


def load_joined(path: Path) -> JoinedModel:
    """Loads a file that `JoinedModel.save` wrote; runs no code from the file.

    Raises:
        ConfigError: the file has another format, is damaged, or is not safe to open.
        HeadError: its head is damaged, or its class is not restored from files.
    """
    from featurebank.heads.storage.saving import load_head

    with tempfile.TemporaryDirectory() as place:
        try:
            members = {_numbered(name, number) for name in (_TRUNK, DESCRIPTION, WEIGHTS) for number in range(_MOST)}
            with open_archive(path, allowed={*members, _HEAD, MEMBER}) as archive:
                about = about_from_text(archive.read(MEMBER).decode(), path)
                archive.extract(_HEAD, Path(place))
                trunks = [_read_trunk(archive, Path(place), number) for number in range(1 + len(about.further))]
                trunk = trunks[0] if len(trunks) == 1 else SeveralTrunks(trunks, about.squares)
        except (ConfigError, FormatVersionError, FileNotFoundError):
            raise
        except Exception as error:  # a damaged or hostile file fails anywhere in Keras and OpenVINO
            reason = str(error) if isinstance(error, ArchiveError) else type(error).__name__
            message = f"'{path}' is not a complete model of featurebank ({reason}): export it again"
            raise ConfigError(message) from error
        return JoinedModel(trunk, load_head(Path(place, _HEAD)), about)


def _numbered(name: str, number: int) -> str:
    """Returns the name of a member for one of several networks; the first has the name itself."""
    stem, dot, suffix = name.partition(".")
    return f"{stem}_{number}{dot}{suffix}" if number else name


def _write_trunk(trunk: Any, archive: zipfile.ZipFile, place: Path, number: int) -> None:
    if isinstance(trunk, OpenVINOTrunk):
        archive.writestr(_numbered(DESCRIPTION, number), trunk.description)
        archive.writestr(_numbered(WEIGHTS, number), trunk.weights.tobytes())
    else:
        name = _numbered(_TRUNK, number)
        trunk.save(place / name)
        archive.write(place / name, name)


def _read_trunk(archive: Archive, place: Path, number: int) -> Any:
    description, weights, keras = (_numbered(name, number) for name in (DESCRIPTION, WEIGHTS, _TRUNK))
    if description in archive.names:
        for name in (description, weights):
            archive.extract(name, place)
        files = check_openvino(place / description)
        try_reading([place / description, *files])
        return OpenVINOTrunk((place / description).read_bytes(), np.fromfile(place / weights, np.uint8))
    archive.extract(keras, place)
    return load_keras_file(place / keras)

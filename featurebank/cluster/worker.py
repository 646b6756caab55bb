"""What runs on a worker for an extraction: it builds the networks once, and computes pieces with them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone, recorded_source
from featurebank.backbone.naming import is_model_file, is_user_network, name_function
from featurebank.backbone.recorded import differing_parts, load_like, recorded_options
from featurebank.cluster.checks import Probe, describe_worker
from featurebank.cluster.tasks import limit_to_worker
from featurebank.dataset import Dataset
from featurebank.errors import BadImageError, ConfigError, FeatureBankError, LostImageError, WeightsError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.pieces.plan import Piece, PieceBank
from featurebank.extraction.pieces.runner import PieceResult, PieceRunner
from featurebank.storage.caches import local_path
from featurebank.system import digest

MOST_VALUES = 8192
"""Values of a tap that travel to be compared."""

_ATTEMPTS = 5
"""How often a user's function is called. It may draw weights from Python's global random numbers with a fixed seed, and
other threads of a Dask worker draw from these, too: then the weights differ, but not each time."""

Values = dict[tuple[int, str], np.ndarray]
"""Features of a few images, (n, d) float32, by the number of the bank and the tap."""


@dataclass(frozen=True)
class PieceOrder:
    """What a worker has to know of an extraction; the pieces come later. It can be pickled, and is small."""

    networks: tuple[Mapping[str, Any], ...]
    """For each bank, the recipe and the source of its network, from which a worker builds it."""
    options: ExtractOptions
    banks: tuple[PieceBank, ...]
    places: tuple[str, ...]
    """For each bank, its `portable_path`."""
    taps: tuple[tuple[str, ...], ...]
    """For each bank, the taps of its first piece."""
    directory: str
    """The current directory of the client, where functions of a user's networks are found."""

    @property
    def key(self) -> str:
        """The digest of what engines depend on."""
        return digest.of_recipe([list(self.networks), repr(self.options), list(self.places)])

    def local_banks(self) -> tuple[PieceBank, ...]:
        """Returns the banks with their paths on this machine."""
        return tuple(replace(bank, path=local_path(place)) for bank, place in zip(self.banks, self.places, strict=True))


def network_record(backbone: Backbone) -> dict[str, Any]:
    """Returns the recipe and the source of a network, with absolute paths.

    Raises:
        ConfigError: the network exists in the memory of this process alone.
    """
    source = recorded_source(backbone)
    recorded_options(backbone.recipe, source)
    if is_model_file(source["backbone"]):
        source["backbone"] = str(Path(source["backbone"]).expanduser().absolute())
    if Path(source["weights"]).expanduser().is_file():
        source["weights"] = str(Path(source["weights"]).expanduser().absolute())
    return {"recipe": backbone.recipe, "source": source}


class _Bench:
    """The runner of this process, which keeps its engines from one piece to the next."""

    key = ""
    runner: PieceRunner | None = None

    def runner_of(self, order: PieceOrder) -> PieceRunner:
        """Returns the runner of an order; builds its networks if another order came before.

        Raises:
            FeatureBankError: a network cannot be built, or differs from the client's; the message is for the client.
        """
        if self.runner is None or self.key != order.key:
            if self.runner:
                self.runner.close()
            limit_to_worker()
            networks = [_network(one, order.directory) for one in order.networks]
            self.key, self.runner = order.key, PieceRunner(networks, order.options)
        return self.runner


_bench = _Bench()


def prepare(probe: Probe, order: PieceOrder, sample: Dataset) -> dict[str, Any]:
    """Runs on a worker: returns the fields of its `WorkerReport`, and under "values" the features of two images.

    Args:
        probe: see `describe_worker`.
        order: the extraction.
        sample: some images of the dataset that the client can read.
    """
    answer = describe_worker(probe)
    if not answer["problem"]:
        answer["problem"] = _unread(sample, answer["host"])
    if not answer["problem"]:
        try:
            runner = _bench.runner_of(order)
            answer |= _probe_features(runner, order)
        except FeatureBankError as error:
            answer["problem"] = str(error)
    return answer


def compute_pieces(order: PieceOrder, pieces: Sequence[Piece], images: Dataset) -> PieceResult:
    """Runs on a worker: computes pieces and writes their shards and notes; what is done already is left out.

    Args:
        order: the extraction.
        pieces: the pieces.
        images: a dataset with their images.
    """
    banks = order.local_banks()
    return _bench.runner_of(order).run([replace(piece, banks=banks) for piece in pieces], images)


def _network(record: Mapping[str, Any], directory: str) -> Backbone:
    recipe, source = record["recipe"], record["source"]
    name_function(source["backbone"])  # the client's user has named it, and nobody else can send an order
    if directory not in sys.path and Path(directory).is_dir():
        sys.path.append(directory)
    for attempt in range(_ATTEMPTS):
        try:
            network = load_like(recipe, source)
        except ConfigError:  # other weights at each call, perhaps
            if attempt == _ATTEMPTS - 1 or not is_user_network(source["backbone"]):
                raise
            continue
        differing = differing_parts(recipe, network)
        if not differing or not is_user_network(source["backbone"]):
            break
    for part in differing:
        message = (
            f"its {network.name} differs from the client's in {part}, which is {network.recipe.get(part)} there and "
            f"{recipe.get(part)} here: use the same weights and the same code on all machines"
        )
        raise WeightsError(message)
    return network


def _unread(sample: Dataset, host: str) -> str:
    """Returns a problem if this worker can read none of the images."""
    reason = ""
    for index in range(len(sample)):
        try:
            sample.image(index)
        except FeatureBankError as error:
            if isinstance(error, BadImageError) and not isinstance(error, LostImageError):
                return ""  # it was read, but cannot be decoded
            reason = reason or f"'{sample.ids[index]}': {error}"
        else:
            return ""
    if not reason:
        return ""
    return (
        f"host {host} cannot read the images that the client reads, the first is {reason}: put the dataset on a disk "
        "that all machines share, and give --dataset its absolute path"
    )


def _probe_features(runner: PieceRunner, order: PieceOrder) -> dict[str, Any]:
    engines, values, banks = [], {}, order.local_banks()
    for number, taps in enumerate(order.taps):
        if taps:
            probe = runner.compute(banks, number, taps)
            engines.append(probe.engine)
            for tap, features in probe.features.items():
                flat = features.reshape(len(features), -1)
                values[number, tap] = flat[:, :: max(1, flat.shape[1] * len(flat) // MOST_VALUES)]
    return {"engine": ", ".join(dict.fromkeys(filter(None, engines))) or None, "values": values}

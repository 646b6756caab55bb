"""How fast are networks of timm extracted, from JPEG files to shards on disk? A part of `extraction`, or alone.

A ViT-S/16 and a ConvNeXt-Tiny with random weights: featurebank with each engine that runs them, from JPEG files to
shards; timm itself on images that are in memory, in eager mode and with `torch.compile` where that works; a network of
the same architecture in Keras by `predict`; and OpenVINO alone on the same converted network, with images in memory,
which is the limit. All have the same threads, and take turns. Beside each stand its engine, precision, threads and
kernels of matrix products, and the processor time of a turn: on a busy machine that time, unlike that of the clock,
depends little on others.

`torch.compile` uses PyTorch's C++ code generator: Triton, the other one, serves GPUs, and cannot live in a process with
TensorFlow.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.harness import Contest, conditions, report, tensorflow
from benchmarks.pictures import photo_folder
from featurebank import load_backbone, load_dataset
from featurebank.backbone.torch_networks.network import TorchBackbone
from featurebank.engine.catalog import load_engine
from featurebank.engine.openvino import REQUEST, compile_network, convert_network
from featurebank.engine.pool import request_size
from featurebank.extraction import ExtractOptions, run_extraction
from featurebank.system.imports.openvino import import_openvino
from featurebank.system.imports.torch import import_torch
from featurebank.system.runtime import threads

BATCH = 32
NETWORKS = (("timm:vit_small_patch16_224", 64), ("timm:convnext_tiny", 64))
"""With the images of a turn, whole batches."""
RAW = "OpenVINO alone, images in memory"
EAGER = "timm, eager"
COMPILED = "timm, torch.compile"
PREDICT = "Keras predict, images in memory"
OURS = "featurebank, openvino, to shards"
REQUIRED = {RAW: 0.9, EAGER: 2.0}
"""How many times as fast `OURS` must be."""


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Runs these contests alone."""
    about = conditions()
    with tempfile.TemporaryDirectory() as directory:
        contests = contests_of_timm(rounds, Path(directory), photos, quick=quick)
    report(contests, about, output, {"rounds": rounds, "batch_size": BATCH})


def print_ratios(contests: list[Contest]) -> None:
    """Prints how many times as fast as each other contestant featurebank is, by the medians."""
    for contest in contests:
        medians = {name: statistics.median(seconds) for name, seconds in contest.seconds.items()}
        ratios = [
            f"{seconds / medians[OURS]:.2f} x {name}" + (f" (required {REQUIRED[name]})" if name in REQUIRED else "")
            for name, seconds in medians.items()
            if name != OURS
        ]
        print(f"{contest.question}\n  {OURS}: {', '.join(ratios)}", flush=True)
        for name, seconds in medians.items():
            print(f"  {name}: {seconds:.2f} s; {contest.notes.get(name, '')}", flush=True)


def contests_of_timm(rounds: int, directory: Path, photos: Path | None, *, quick: bool) -> list[Contest]:
    """Runs the contests; none where timm is not installed."""
    if find_spec("timm") is None or find_spec("torch") is None:
        print("timm is not installed: pip install 'featurebank[timm]'")
        return []
    contests = []
    for name, images in NETWORKS:
        match = _Match(name, directory / name.partition(":")[2], BATCH if quick else images, photos)
        contests.append(match.run(rounds))
        print_ratios(contests[-1:])  # at once: two networks take minutes
    return contests


@dataclass
class _Match:
    """The contest of one network."""

    name: str
    directory: Path
    count: int
    photos: Path | None

    def __post_init__(self) -> None:
        backbone = load_backbone(self.name, weights="random:0")
        assert isinstance(backbone, TorchBackbone)
        self.backbone, self.torch = backbone, import_torch()
        self.files = photo_folder(self.directory / "photos", self.count, self.photos)
        dataset = load_dataset(str(self.files))
        chosen = itertools.islice(itertools.cycle(range(len(dataset))), self.count)
        self.arrays = np.stack([backbone.resize(dataset.image(index)) for index in chosen])

    def run(self, rounds: int) -> Contest:
        """Lets the contestants take turns."""
        title = f"{self.name} from JPEG files to shards, {self.backbone.image_size} px, batches of {BATCH}"
        contest = Contest(title, self.count, "images", EAGER)
        contestants = self._contestants()
        spent: dict[str, list[float]] = {name: [] for name in contestants}
        for act in contestants.values():
            act()  # the first turn builds what later ones keep
        for _ in range(rounds):
            for name, act in contestants.items():
                began = time.process_time()
                contest.time(name, act)
                spent[name].append(time.process_time() - began)
        for name, seconds in spent.items():
            contest.notes[name] = f"{self.kernels[name]}; processor {statistics.median(seconds):.2f} s"
        return contest

    def _contestants(self) -> dict[str, Callable[[], Any]]:
        torch = f"pytorch float32, {self.torch.get_num_threads()} threads, {_kernels_of_torch(self.torch)}"
        found: dict[str, tuple[Callable[[], Any] | None, str]] = {
            EAGER: (self._torch(self.backbone.module()), torch),
            COMPILED: (self._compiled(), f"{torch}, C++"),
            PREDICT: (self._keras(), f"tensorflow float32, {threads()} threads, oneDNN and Eigen"),
        }
        raw, kernels = self._raw()
        converted = f"openvino float32, {threads()} threads, {kernels}, requests of {self._request}"
        found[RAW] = raw, converted
        found["featurebank, pytorch, to shards"] = self._extraction("pytorch"), torch
        found[OURS] = self._extraction("openvino"), converted
        self.kernels = {name: words for name, (_, words) in found.items()}
        return {name: act for name, (act, _) in found.items() if act is not None}

    def _torch(self, module: Any) -> Callable[[], None]:
        """The network on normalised images, as `forward_features` and `forward_head(pre_logits=True)`."""
        torch = self.torch
        images = torch.from_numpy(self.arrays).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        images = images.contiguous(memory_format=torch.channels_last)

        def act() -> None:
            with torch.inference_mode():
                for part in images.split(BATCH):
                    module.forward_head(module.forward_features(part), pre_logits=True).numpy()

        return act

    def _compiled(self) -> Callable[[], None] | None:
        """The same, compiled; None where PyTorch has no compiler."""
        network, compile_it = self.backbone.module(), self.torch.compile

        class Compiled:
            forward_features = staticmethod(compile_it(network.forward_features))
            forward_head = staticmethod(compile_it(network.forward_head))

        act = self._torch(Compiled)
        try:
            act()
        except Exception as error:  # noqa: BLE001 - a missing C++ compiler, or an operation that it does not know
            print(f"torch.compile does not work here: {' '.join(str(error).split())[:150]}")
            return None
        return act

    def _keras(self) -> Callable[[], Any] | None:
        """A network of the same architecture in Keras; None where KerasHub is not installed."""
        tensorflow()
        if "convnext" in self.name:
            model = load_backbone("convnext_tiny", weights="random:0").tap_model(["pooled"])
        elif find_spec("keras_hub") is not None:
            from keras_hub.models import ViTBackbone

            model = ViTBackbone((224, 224, 3), (16, 16), num_layers=12, num_heads=6, hidden_dim=384, mlp_dim=1536)
        else:
            return None
        images = self.arrays.astype(np.float32)
        return lambda: model.predict(images, batch_size=BATCH, verbose=0)

    @property
    def _request(self) -> int:
        return request_size(self.backbone.image_size, BATCH, most=REQUEST)

    def _raw(self) -> tuple[Callable[[], None], str]:
        """The converted network of the engine, with its options, in OpenVINO's own queue; and its kernels."""
        openvino, request = import_openvino(), self._request
        model = convert_network(self.backbone, ["pooled"])
        compiled = compile_network(openvino.Core(), model, (request, self.backbone.image_size), "float32")
        queue = openvino.AsyncInferQueue(compiled, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) + 1)
        parts = [self.arrays[start : start + request] for start in range(0, self.count, request)]

        def act() -> None:
            for part in parts:
                queue.start_async({0: part})
            queue.wait_all()

        return act, _kernels_of_openvino(compiled)

    def _extraction(self, name: str) -> Callable[[], None]:
        """The whole extraction; the engine is built before the clock runs, as the models of the others are."""
        engine = load_engine(name, self.backbone, ("pooled",), batch_size=BATCH)
        lent = mock.Mock(wraps=engine, depth=engine.depth)
        lent.name, lent.close = engine.name, lambda: None
        cache = self.directory / "cache"

        def act() -> None:
            shutil.rmtree(cache, ignore_errors=True)
            with mock.patch("featurebank.extraction.target.load_engine", return_value=lent):
                options = ExtractOptions(batch_size=BATCH, engine=name)
                run_extraction(load_dataset(str(self.files)), self.backbone, options, cache=cache)

        return act


def _kernels_of_torch(torch: Any) -> str:
    blas = next((word for word in ("mkl", "openblas") if getattr(torch.backends, word, torch).is_available()), "BLAS")
    return f"{blas} and oneDNN {torch.backends.cpu.get_cpu_capability()}"


def _kernels_of_openvino(compiled: Any) -> str:
    """Returns the kernel that most of the matrix products and convolutions use."""
    kinds = Counter[str]()
    for operation in compiled.get_runtime_model().get_ordered_ops():
        about = {key: str(value.astype(str)) for key, value in operation.get_rt_info().items()}
        if about.get("layerType") in {"FullyConnected", "MatMul", "Convolution"}:
            kinds[about["primitiveType"]] += 1
    return kinds.most_common(1)[0][0] if kinds else "no products"

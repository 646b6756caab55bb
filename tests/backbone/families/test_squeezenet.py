from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from featurebank import load_backbone
from featurebank.backbone.families import squeezenet
from featurebank.backbone.keras_networks.cuts import cut_points
from featurebank.backbone.table import TABLE
from featurebank.errors import UnknownNameError, WeightsError

pytestmark = pytest.mark.heavy

# torchvision's `features`: the width of the first convolution and its kernel, then pooling and Fire modules by number.
TORCHVISION = {
    "squeezenet1_0": (96, 7, ["pool", 3, 4, 5, "pool", 7, 8, 9, 10, "pool", 12]),
    "squeezenet1_1": (64, 3, ["pool", 3, 4, "pool", 6, 7, "pool", 9, 10, 11, 12]),
}
FIRES = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]


def state_dict(name: str) -> dict[str, np.ndarray]:
    """Random weights under the names and in the shapes of torchvision."""
    random = np.random.default_rng(0)
    width, kernel, layout = TORCHVISION[name]
    shapes = {"features.0": (width, 3, kernel, kernel), "classifier.1": (1000, 512, 1, 1)}
    fires = iter(FIRES)
    for number in layout:
        if number != "pool":
            squeeze, expand = next(fires)
            shapes[f"features.{number}.squeeze"] = (squeeze, width, 1, 1)
            shapes[f"features.{number}.expand1x1"] = (expand, squeeze, 1, 1)
            shapes[f"features.{number}.expand3x3"] = (expand, squeeze, 3, 3)
            width = 2 * expand
    tensors = {}
    for part, shape in shapes.items():
        tensors[f"{part}.weight"] = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype("float32")
        tensors[f"{part}.bias"] = random.normal(0, 0.1, shape[0]).astype("float32")
    return tensors


def convolve(x: np.ndarray, tensors: dict[str, np.ndarray], part: str, stride: int = 1) -> np.ndarray:
    """Convolution and ReLU over (channels, height, width) with PyTorch's weights; 3x3 in a Fire module is padded."""
    weight, bias = tensors[f"{part}.weight"], tensors[f"{part}.bias"]
    side = weight.shape[-1]
    if part.endswith("expand3x3"):
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))[:, ::stride, ::stride]
    return np.maximum(np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None], 0)


def pool(x: np.ndarray) -> np.ndarray:
    """`MaxPool2d(3, 2, ceil_mode=True)`: the windows at the edge are cut."""
    side = -(-(x.shape[1] - 3) // 2) + 1
    rows = [[x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(side)] for i in range(side)]
    return np.array(rows).transpose(2, 0, 1)


def torchvision(name: str, tensors: dict[str, np.ndarray], image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last map and the probabilities, as torchvision's definition has them."""
    x = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = convolve(x.transpose(2, 0, 1), tensors, "features.0", stride=2)
    for number in TORCHVISION[name][2]:
        if number == "pool":
            x = pool(x)
            continue
        x = convolve(x, tensors, f"features.{number}.squeeze")
        x = np.concatenate([convolve(x, tensors, f"features.{number}.{part}") for part in ("expand1x1", "expand3x3")])
    scores = np.exp(convolve(x, tensors, "classifier.1").mean((1, 2)))
    return x.transpose(1, 2, 0), scores / scores.sum()


@pytest.mark.parametrize("size", [35, 50])  # odd and even maps
@pytest.mark.parametrize("name", TORCHVISION)
def test_it_computes_what_torchvision_computes(name: str, size: int, torch_file) -> None:
    tensors = state_dict(name)
    backbone = load_backbone(name, weights=str(torch_file("mine.pth", tensors)), image_size=size)
    image = np.random.default_rng(1).integers(0, 256, (size, size, 3)).astype("float32")
    last, probabilities = torchvision(name, tensors, image)
    np.testing.assert_allclose(backbone.network()(image[None])[0], last, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(backbone.classifier()(image[None])[0], probabilities, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", TORCHVISION)
def test_maps_have_torchvisions_sizes(name: str) -> None:
    backbone = load_backbone(name, weights="random:0")
    assert backbone.network().output_shape == (None, 13, 13, 512)
    assert backbone.classifier().count_params() == {"squeezenet1_0": 1_248_424, "squeezenet1_1": 1_235_496}[name]
    shapes = dict(backbone.layers())
    assert shapes["pool1"] == {"squeezenet1_0": (54, 54, 96), "squeezenet1_1": (55, 55, 64)}[name]
    assert shapes["fire8_squeeze1x1"][:2] == {"squeezenet1_0": (27, 27), "squeezenet1_1": (13, 13)}[name]


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_fire_module_is_a_cut(name: str) -> None:
    cuts = [cut.name for cut in cut_points(load_backbone(name, weights="random:0", image_size=64).network())]
    assert [cut for cut in cuts if cut.startswith("fire") and len(cut) == 5] == [f"fire{n}" for n in range(2, 10)]


def test_the_bare_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'squeezenet1_\d' or 'squeezenet1_\d'"):
        load_backbone("squeezenet")


def test_a_file_of_another_version(torch_file) -> None:
    path = torch_file("other.pth", state_dict("squeezenet1_1"))
    with pytest.raises(WeightsError, match=r"layer 'conv1'.*use the weights of squeezenet1_0"):
        load_backbone("squeezenet1_0", weights=str(path), image_size=32).network()


@pytest.fixture
def site(tmp_path: Path, monkeypatch) -> Iterator[Path]:
    """A folder that an HTTP server of this machine hands out in place of torchvision's site; no cache has a file."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "site"), **options)

        def log_message(self, *_arguments) -> None:
            pass

    (tmp_path / "site").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(squeezenet, "SITE", f"http://127.0.0.1:{server.server_address[1]}/")
    monkeypatch.setattr("featurebank.backbone.weights.download.keras_folders", lambda: [tmp_path / "keras" / "models"])
    yield tmp_path / "site"
    server.shutdown()
    thread.join()
    server.server_close()


def named(data: bytes) -> squeezenet.SqueezeNet:
    """SqueezeNet with these bytes as its ImageNet weights."""
    spec = TABLE["squeezenet1_1"]
    assert isinstance(spec, squeezenet.SqueezeNet)
    return dataclasses.replace(spec, file=f"squeezenet1_1-{hashlib.sha256(data).hexdigest()[:8]}.pth")


def test_weights_are_downloaded_once(site: Path, tmp_path: Path) -> None:
    spec = named(b"weights")
    (site / spec.file).write_bytes(b"weights")
    path = spec.own_file(top=False)
    assert path == tmp_path / "keras" / "models" / spec.file
    assert path.read_bytes() == b"weights"
    (site / spec.file).unlink()
    assert spec.own_file(top=True) == path
    assert [entry.name for entry in path.parent.iterdir()] == [spec.file]


def test_a_cut_file_is_downloaded_again(site: Path, tmp_path: Path) -> None:
    spec = named(b"weights")
    (site / spec.file).write_bytes(b"weights")
    place = tmp_path / "keras" / "models" / spec.file
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weig")
    assert spec.own_file(top=False).read_bytes() == b"weights"


def test_what_pytorch_has_downloaded_is_found(site: Path, tmp_path: Path) -> None:
    spec = named(b"weights")
    place = tmp_path / "torch" / "hub" / "checkpoints" / spec.file
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    assert spec.own_file(top=False) == place


@pytest.mark.parametrize(("served", "reason"), [(b"another", "its SHA-256 differs"), (None, "404")])
def test_a_failed_download_is_one_line_and_leaves_nothing(served, reason, site: Path, tmp_path: Path) -> None:
    spec = named(b"weights")
    if served:
        (site / spec.file).write_bytes(served)
    with pytest.raises(WeightsError, match=reason) as caught:
        spec.own_file(top=False)
    place = tmp_path / "keras" / "models" / spec.file
    assert "\n" not in str(caught.value)
    assert f"put it at '{place}' or pass it as --weights FILE" in str(caught.value)
    assert not any(place.parent.iterdir())

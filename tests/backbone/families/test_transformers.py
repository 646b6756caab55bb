"""Networks of transformers from a directory: their features equal its own, and hostile files do nothing."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featurebank import extract, load_backbone
from featurebank.backbone.libraries import LIBRARIES
from featurebank.backbone.recorded import load_recorded, recorded_source
from featurebank.backbone.taps import averages_map
from featurebank.errors import ConfigError, FeatureBankError, WeightsError
from tests.support.tiny_transformers import TINY, quiet, save_tiny

pytestmark = [pytest.mark.networks, pytest.mark.heavy]
FEW = ("vit", "resnet", "siglip")
OWN_POOL = {"vit", "deit", "vit_mae", "vit_msn", "ijepa", "pvt", "pvt_v2", "segformer", "data2vec-vision"}
"""Networks whose classifier takes something other than the output of their pooler."""


def _pixels(network: Any, count: int = 32) -> tuple[Any, Any]:
    """Returns images (n, s, s, 3) uint8, and the same as the image processor of the tiny networks prepares them."""
    import torch

    side = network.image_size
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)
    return torch.from_numpy(images), (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5


def _near(made: Any, expected: Any) -> bool:
    return bool(made.shape == expected.shape and (made - expected).abs().max() <= 1e-4 * expected.abs().max())


def _check_features(word: str, directory: Path) -> None:
    """Compares taps with the outputs of transformers: the bare network, and the input of its classifier."""
    import torch
    import transformers

    theirs = save_tiny(word, directory)
    ours = load_backbone(f"hf:{directory}")
    images, prepared = _pixels(ours)
    tokens = ours.outline().tokens
    with torch.no_grad():
        pooled, last, mean = ours.tap_module(["pooled", "tokens" if tokens else "map", "map:avg"])(images)
        more = {"noise": torch.arange(16.0).expand(len(images), -1)} if word == "vit_mae" else {}
        output = getattr(theirs, "vision_model", theirs)(prepared, **more)
    expected = output.last_hidden_state if tokens else output.last_hidden_state.permute(0, 2, 3, 1)
    assert _near(last, theirs.vision_model.post_layernorm(expected) if word == "clip" else expected)
    assert averages_map(ours.spec.pooling) == _near(pooled, mean)
    if word not in OWN_POOL:
        assert _near(pooled, output.pooler_output.flatten(1))
    if hasattr(transformers, f"{TINY[word][0]}ForImageClassification"):
        _check_classifier(word, directory)


def _check_classifier(word: str, directory: Path) -> None:
    import torch

    theirs = save_tiny(word, directory, "ForImageClassification")
    ours = load_backbone(f"hf:{directory}")
    images, prepared = _pixels(ours)
    inputs: list[Any] = []
    theirs.classifier.register_forward_pre_hook(lambda _module, args: inputs.append(args[0].flatten(1)))
    with torch.no_grad():
        theirs(prepared)
        assert _near(ours.tap_module(["pooled"])(images)[0], inputs[0])


@pytest.mark.parametrize("word", FEW)
def test_features_equal_those_of_transformers(word: str, tmp_path: Path) -> None:
    _check_features(word, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("word", [word for word in TINY if word not in FEW])
def test_features_of_every_kind_equal_those_of_transformers(word: str, tmp_path: Path) -> None:
    _check_features(word, tmp_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT; nothing may change it."""
    directory = tmp_path_factory.mktemp("models") / "tiny vit"
    save_tiny("vit", directory)
    return directory


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def _change(directory: Path, file: str = "config.json", **values: Any) -> None:
    path = directory / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_a_network_says_of_itself(saved: Path) -> None:
    backbone = load_backbone(f"hf:{saved}")
    assert backbone.name == "hf.tiny_vit"
    assert backbone.recipe["pooling"] == backbone.spec.pooling == "class token"
    assert backbone.recipe["preprocessing"] == "normalize:0.5,0.5,0.5:0.5,0.5,0.5:v1"
    assert backbone.recipe["resize"] == "stretch:32:bilinear:antialias:centre-down:v1"
    outline = backbone.outline()
    assert outline.tokens
    assert outline.tokens.describe() == "class token, 4 x 4 patches"
    assert {"layers.0", "layers.1"} <= {cut.name for cut in outline.cuts}
    assert not backbone.is_built
    wide = load_backbone(f"hf:{saved}", image_size=48)
    assert wide.outline().tap_shape("map") == (6, 6, 24)
    assert wide.resize_rule == "stretch:48:bilinear:antialias:centre-down:v1"


def test_other_image_sizes_interpolate_the_positions_as_transformers_does(saved: Path) -> None:
    import torch
    import transformers

    with quiet():
        theirs = transformers.ViTModel.from_pretrained(saved, add_pooling_layer=False).eval()
    ours = load_backbone(f"hf:{saved}", image_size=48)
    images, prepared = _pixels(ours, 2)
    with torch.no_grad():
        expected = theirs(prepared, interpolate_pos_encoding=True).last_hidden_state
        assert _near(ours.tap_module(["tokens"])(images)[0], expected)


def test_a_bank_finds_its_network_again(saved: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index, noise in enumerate(np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)):
            Image.fromarray(noise).save(tmp_path / "photos" / name / f"{index}.png")
    bank = extract(tmp_path / "photos", f"hf:{saved}", taps=["pooled"], cache=tmp_path / "cache")
    assert bank.manifest.source["backbone"] == f"hf:{saved.resolve()}"
    again = load_recorded(bank.recipe, bank.manifest.source)
    assert again.digest == load_backbone(f"hf:{saved}").digest
    random = load_backbone(f"hf:{saved}", weights="random:3", preprocessing="tf", resize="crop", image_size=40)
    assert load_recorded(random.recipe, recorded_source(random)).digest == random.digest


def test_weights_of_a_seed_a_file_and_shards(saved: Path, copy: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    whole = load_backbone(f"hf:{saved}")
    file = load_backbone(f"hf:{saved}", weights=str(saved / "model.safetensors"))
    assert file.recipe["weights"] == load_backbone(f"hf:{saved}", weights="imagenet").recipe["weights"]
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for part, members in parts.items():
        save_file({name: tensors[name] for name in members}, copy / part)
    places = {name: part for part, members in parts.items() for name in members}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    sharded = load_backbone(f"hf:{copy}")
    images, _ = _pixels(whole, 2)
    with torch.no_grad():
        expected, *others = (each.tap_module(["tokens"])(images)[0] for each in (whole, file, sharded))
    assert all(torch.equal(other, expected) for other in others)
    for part in parts:
        (copy / part).unlink()
    (copy / "model.safetensors.index.json").unlink()
    rows = [load_backbone(f"hf:{copy}", weights="random:1").tap_module(["pooled"])(images)[0] for _ in range(2)]
    assert torch.equal(*rows)
    assert rows[0].std() > 0.1


def _fails(directory: Path, error: type[FeatureBankError], message: str, **options: Any) -> None:
    with pytest.raises(error, match=message) as caught:  # noqa: PT012 - whoever reads the part in question refuses it
        backbone = load_backbone(f"hf:{directory}", **options)
        assert backbone.recipe
        backbone.tap_module(["pooled"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": 10**6}, "expected a number up to"),
        ({"num_hidden_layers": 5000}, "5000 blocks"),
        ({"hidden_size": 60000, "intermediate_size": 60000, "num_hidden_layers": 900}, "more than the memory"),
        ({"hidden_size": 600, "num_attention_heads": 2}, "do not belong together"),
        ({"hidden_size": "wide"}, "transformers cannot build it"),
        ({"patch_size": 0}, "transformers cannot build it"),
        ({"num_channels": 4}, "4 channels"),
        ({"intermediate_size": 50}, "has shape"),
        ({"num_hidden_layers": 1}, "as a deeper network"),
        ({"num_hidden_layers": 3}, "have no tensor"),
        ({"hidden_act": "os.system"}, "transformers cannot build it"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "never runs"),
    ],
)
def test_a_hostile_configuration_is_one_line(copy: Path, values: dict[str, Any], message: str) -> None:
    (copy / "evil.py").write_text("open('ran', 'w')")
    _change(copy, **values)
    _fails(copy, FeatureBankError, message)
    assert not (copy / "ran").exists()


def test_hostile_weights_are_one_line(copy: Path, saved: Path, tmp_path: Path) -> None:
    path, stored = copy / "model.safetensors", (saved / "model.safetensors").read_bytes()
    path.write_bytes(stored[:-100])
    _fails(copy, WeightsError, "cannot be read as safetensors")
    path.write_bytes(stored[:20])
    _fails(copy, WeightsError, "header is longer than the file")
    lie = json.dumps({"x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    path.write_bytes(struct.pack("<Q", len(lie)) + lie)
    _fails(copy, WeightsError, "do not belong together")
    path.unlink()
    os.mkfifo(path)
    _fails(copy, WeightsError, "cannot be read as safetensors")
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    _fails(copy, WeightsError, "cannot be read")
    path.unlink()
    (copy / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    _fails(copy, WeightsError, r"pytorch_model\.bin, which is never read.*save_pretrained")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd.safetensors", "a/b.safetensors", "x.bin", ""])
def test_an_index_names_only_files_beside_it(copy: Path, name: str) -> None:
    (copy / "model.safetensors").rename(copy.parent / "model.safetensors")
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    _fails(copy, WeightsError, "expected names of .safetensors files beside it")


def test_other_bad_input_is_one_line(copy: Path, saved: Path) -> None:
    _fails(copy, ConfigError, "cannot run on images of 4 x 4", image_size=4)
    (copy / "preprocessor_config.json").unlink()
    _fails(copy, ConfigError, "no preprocessor_config.json: say what the network expects with --preprocessing")
    backbone = load_backbone(f"hf:{copy}", preprocessing="tf")
    assert (backbone.image_size, backbone.recipe["preprocessing"]) == (32, "tf:v1")
    (copy / "config.json").write_text("[" * 100_000)
    _fails(copy, ConfigError, r"config\.json cannot be read")
    (copy / "config.json").unlink()
    _fails(copy, ConfigError, r"has no config\.json")
    os.mkfifo(copy / "config.json")
    _fails(copy, ConfigError, "cannot be read")
    _fails(copy / "config.json", ConfigError, "there is no such directory")
    _fails(saved, ConfigError, "expected 'pretrained'", weights="resnet50")


def test_only_the_local_cache_can_be_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    cached = [("facebook/dinov2-base", "346M"), ("other", "1M")]
    monkeypatch.setattr("featurebank.backbone.families.transformers.cached_repositories", lambda: cached)
    assert [entry.name for entry in LIBRARIES["hf"].search("dinov2*")] == ["hf:facebook/dinov2-base"]
    with pytest.raises(ConfigError, match="the hub itself is not searched: find a name on huggingface"):
        LIBRARIES["hf"].search("vit*")

"""Weights files of networks of PyTorch."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from tiny_torch import TinyMaps, tiny_torch

from featurebank.errors import FeatureBankError, WeightsError

pytestmark = [pytest.mark.networks, pytest.mark.heavy]


def save(path: Path, **changes: object) -> Path:
    """Saves the weights of a tiny network of another seed; `name=None` leaves a tensor out."""
    import torch
    from safetensors.torch import save_file

    tensors = dict(tiny_torch(TinyMaps, "random:7").module().state_dict()) | changes
    tensors = {name: value.contiguous() for name, value in tensors.items() if value is not None}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt"])
def test_a_file_gives_its_weights(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / name)
    backbone = tiny_torch(TinyMaps, str(path))
    expected = tiny_torch(TinyMaps, "random:7").module().state_dict()
    assert all((value == expected[key]).all() for key, value in backbone.module().state_dict().items())
    assert backbone.digest != tiny_torch(TinyMaps, "random:7").digest


def test_counters_of_training_may_be_missing(tmp_path: Path) -> None:
    path = save(tmp_path / "w.safetensors", **{"layer1.0.bn1.num_batches_tracked": None})
    assert tiny_torch(TinyMaps, str(path)).module()


def test_a_file_of_another_network_is_refused_with_its_first_tensor(tmp_path: Path) -> None:
    import torch

    cases = {
        "it has no tensor 'last.bias'": {"last.bias": None},
        r"its tensor 'conv.bias' has shape \(9,\), expected \(8,\)": {"conv.bias": torch.zeros(9)},
        "its tensor 'extra' is none of this network": {"extra": torch.zeros(1)},
    }
    for number, (reason, changes) in enumerate(cases.items()):
        path = save(tmp_path / f"{number}.safetensors", **changes)
        with pytest.raises(WeightsError, match=f"does not fit tinymaps: {reason}") as raised:
            tiny_torch(TinyMaps, str(path)).module()
        assert "\n" not in str(raised.value)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = save(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        tiny_torch(TinyMaps, str(path)).module()


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    path, proof = tmp_path / "w.pth", tmp_path / "proof"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (proof,)

    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(FeatureBankError):
        tiny_torch(TinyMaps, str(path)).module()
    assert not proof.exists()

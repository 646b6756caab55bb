"""Models of the hub: each failure is one line, and a copy in the cache needs no network."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featurebank.backbone.families.hugging_face.hub import cached_repositories
from featurebank.backbone.families.hugging_face.repository import Repository, open_repository
from featurebank.errors import ConfigError, FeatureBankError, WeightsError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("name", ["", "a b", "x/y/z", "x@", "x@a b", "-x", "x" * 300, "x\n", "https://x", "x@\x1b[31m"])
def test_names_that_no_repository_can_have(name: str) -> None:
    with pytest.raises(ConfigError, match="expected hf:OWNER/NAME") as caught:
        open_repository(name)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("name", ["./nowhere", "/" + "x" * 5000, "~nobody/x", "./\0"])
def test_directories_that_do_not_exist(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no such directory"):
        open_repository(name)


def test_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "my model, 2nd"
    directory.mkdir()
    found = open_repository("./my model, 2nd")
    assert (found.name, found.known_as, found.directory) == ("hf.my_model_2nd", f"hf:{directory}", directory)
    (directory / "processor_config.json").write_text(json.dumps({"image_processor": {"size": 32}}))
    assert found.processor() == {"size": 32}
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        found.config()
    with pytest.raises(WeightsError, match="has no weights"):
        found.weights()
    (directory / "config.json").write_text("3")
    with pytest.raises(ConfigError, match="holds a int"):
        found.config()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A hub that answers with the error that a test sets."""
    import huggingface_hub

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    answer = SimpleNamespace(error=None)

    def download(*args: Any, **kwargs: Any) -> str:
        raise answer.error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return answer


@pytest.mark.networks
def test_failures_of_the_hub_are_one_line_each(hub: Any) -> None:
    from huggingface_hub import errors

    for kind, message in (
        (errors.GatedRepoError, "is gated: accept its terms"),
        (errors.RepositoryNotFoundError, "unknown model of the hub 'owner/name'.*hf auth login"),
        (errors.RevisionNotFoundError, "no such revision"),
        (errors.HfHubHTTPError, "cannot be downloaded"),
    ):
        hub.error = kind.__new__(kind)  # without the response of a server
        hub.error.args = ("first\nsecond",)
        with pytest.raises(FeatureBankError, match=message) as caught:
            open_repository("owner/name")
        assert "\n" not in str(caught.value)
    hub.error = errors.LocalEntryNotFoundError("offline")
    with pytest.raises(ConfigError, match="not in the local cache of the hub, and the hub cannot be reached"):
        open_repository("owner/name")
    hub.error = errors.EntryNotFoundError("none")
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        open_repository("owner/name").config()


@pytest.mark.networks
def test_a_commit_in_the_cache_needs_no_network(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.error = OSError("no network")
    snapshot = tmp_path / "models--owner--name" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"x")
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    found = open_repository(f"owner/name@{COMMIT}")
    assert found.known_as == f"hf:owner/name@{COMMIT}"
    assert found.name == "hf.owner_name"
    assert (found.config(), found.weights()) == ({}, [snapshot / "model.safetensors"])
    assert found.has_weights_here()
    assert not Repository("hf:x", "hf:x", "x", None, "owner/other", COMMIT).has_weights_here()


@pytest.mark.networks
def test_the_cache_lists_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path))
    assert [name for name, _ in cached_repositories()] == ["owner/name"]
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path / "none"))
    assert cached_repositories() == []

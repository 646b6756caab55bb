"""What users write after --cluster."""

from __future__ import annotations

import sys

import pytest

from featurebank.cluster.address import local_workers, scheduler_address
from featurebank.errors import ConfigError, MissingDependencyError


@pytest.mark.parametrize("text", ["local:0", "local:x", "local:", "local:-1", "local:1.5", "local:²"])
def test_a_number_of_local_workers_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^--cluster is '{text}': expected local:N with 1 worker or more"):
        local_workers(text)


def test_more_local_workers_than_a_machine_bears() -> None:
    with pytest.raises(ConfigError, match=r"^--cluster is 'local:22222': expected local:\d+ or less, 8 workers for"):
        local_workers("local:22222")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:8786", "tcp://10.0.0.1:8786"),
        ("head-node:8786", "tcp://head-node:8786"),
        ("tcp://head-node:8786", "tcp://head-node:8786"),
        ("tls://head-node:8786", "tls://head-node:8786"),
        ("tcp://[::1]:8786", "tcp://[::1]:8786"),
    ],
)
def test_an_address_gets_its_protocol(text: str, address: str) -> None:
    assert local_workers(text) is None
    assert scheduler_address(text) == address


@pytest.mark.parametrize(
    "text", ["head-node", "tcp://head-node", ":8786", "head-node:port", "head-node:99999", "", "tcp://"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected local:N, as local:2, or the address of a Dask scheduler, as tcp"):
        scheduler_address(text)


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(ConfigError, match=r"Dask knows no protocol 'http', only .*tcp, tls"):
        scheduler_address("http://head-node:8786")


def test_without_distributed_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'featurebank\[dask\]'"):
        scheduler_address("tcp://head-node:8786")

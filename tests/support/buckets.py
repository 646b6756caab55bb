"""A server of buckets on the loopback, and machines that use them: each has a mirror of its own.

The libraries of the server and of its clients are imported where they are used: each process of pytest imports this
file, and only those that run tests of buckets shall wait for them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featurebank.storage import caches
from featurebank.storage.address import Address
from featurebank.storage.mirror import Mirror
from featurebank.storage.objects import Objects
from featurebank.system.backing import protocol

BUCKET = "features"


@contextlib.contextmanager
def bucket_server() -> Iterator[str]:
    """Starts a server; yields its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def environment(url: str) -> dict[str, str]:
    """Returns the variables by which clients find the server."""
    return {
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip


@contextlib.contextmanager
def server_with_bucket(bucket: str = BUCKET) -> Iterator[str]:
    """Starts a server with a bucket; yields its URL."""
    import botocore.loaders

    with bucket_server() as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.loaders, "create_loader", functools.cache(botocore.loaders.create_loader))
        for name, value in environment(url).items():
            patch.setenv(name, value)
        Objects(Address(bucket))._ask("create_bucket")
        yield url


@functools.cache
def _clients() -> Callable[..., Any]:
    """Returns a function that takes the place of `s3fs.S3FileSystem`, with one client for each server.

    To build a client takes longer than most tests.
    """
    import s3fs

    new_client = s3fs.S3FileSystem
    clients: dict[str, Any] = {}

    def shared_client(**options: Any) -> Any:
        url = os.environ["AWS_ENDPOINT_URL"]
        if url not in clients:
            clients[url] = new_client(**options)
        return clients[url]

    return shared_client


class Machine:
    """One machine with its own mirrors: what the process knows about caches while its block runs.

    Args:
        place: the directory of its mirrors.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._mirrors: dict[tuple[Address, Path], Mirror] = {}
        self._backings: dict[str, protocol.Backing] = {}

    @contextlib.contextmanager
    def used(self, *, shared_client: bool = True) -> Iterator[Machine]:
        """Makes the process this machine; with clients of its own, it can also read images behind URLs."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(caches.MIRROR_VARIABLE, str(self.place))
            patch.setattr(caches, "_mirrors", self._mirrors)
            patch.setattr(protocol, "_backings", self._backings)
            if shared_client:
                patch.setattr("s3fs.S3FileSystem", _clients())
            yield self

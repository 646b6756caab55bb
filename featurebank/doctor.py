"""Checks of this installation: one line per check, each with a remedy."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from featurebank.errors import BankReadOnlyError, FeatureBankError, MissingDependencyError
from featurebank.storage.caches import mirror_of
from featurebank.storage.conditions import check_conditions
from featurebank.system.runtime import installed_versions, limited_blas, threads

_PACKAGES = (
    "tensorflow", "keras", "openvino", "numpy", "h5py", "scikit-learn", "xgboost", "pillow", "click", "pydantic",
)  # fmt: skip
_OF_NETWORKS = ("torch", "timm", "torchvision", "transformers", "keras-hub")
"""Packages of networks of other libraries, which are extras of these names."""
_LEAST_FREE = 1 << 30
_IMPORT_TENSORFLOW = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    """What to do if the check failed."""


def diagnose(cache: Path) -> Iterator[Finding]:
    """Yields the results of all checks, the slow ones last.

    Example:
        >>> next(diagnose(Path("cache"))).name
        'Python'
    """
    yield _python()
    yield from _packages()
    yield _networks()
    yield _blas()
    yield _weights()
    yield from _bucket(cache)
    yield _cache(cache)
    yield _locks(cache)
    yield _openvino()
    yield _engine()
    yield _tensorflow()


def _python() -> Finding:
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("Python", fits, f"{version} on {platform.machine()}", "use Python 3.11, 3.12 or 3.13")


def _packages() -> Iterator[Finding]:
    versions = installed_versions(*_PACKAGES)
    for name in _PACKAGES:
        if name in versions:
            yield Finding(name, ok=True, found=versions[name])
        else:
            yield Finding(name, ok=False, found="not installed", remedy=f"pip install {name}")


def _networks() -> Finding:
    """Returns which libraries of networks are here; none of them is needed."""
    versions = installed_versions(*_OF_NETWORKS)
    parts = [f"{name} {version}" for name, version in versions.items()]
    missing = [name for name in _OF_NETWORKS if name not in versions]
    if missing:
        parts.append(f"without {', '.join(missing)} (pip install 'featurebank[{','.join(missing)}]')")
    return Finding("networks of other libraries", ok=True, found=", ".join(parts))


def _blas() -> Finding:
    import numpy as np
    import threadpoolctl

    np.dot(np.ones((2, 2)), np.ones((2, 2)))
    with limited_blas():
        pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    blas = ", ".join(f"{pool['internal_api']} kernel {pool.get('architecture', '?')}" for pool in pools) or "unknown"
    forced = os.environ.get("OPENBLAS_CORETYPE")
    note = f", forced by OPENBLAS_CORETYPE={forced}, which may be slower than this processor can" if forced else ""
    return Finding("linear algebra", ok=True, found=f"{blas}, {threads()} threads{note}")


def _weights() -> Finding:
    from featurebank.backbone import BackboneOptions, load_network

    try:
        digest = load_network("efficientnet_lite0", BackboneOptions()).recipe["weights"]
    except FeatureBankError as error:
        return Finding(
            "embedded weights", ok=False, found=str(error), remedy="pip install --force-reinstall featurebank"
        )
    return Finding("embedded weights", ok=True, found=f"efficientnet_lite0, digest {digest}")


def _bucket(cache: Path) -> Iterator[Finding]:
    """Yields what is special about a cache in a bucket; nothing for one on the disk."""
    mirror = mirror_of(cache)
    if mirror is None:
        return
    objects = mirror.objects
    try:
        objects.check()
        yield Finding("bucket", ok=True, found=f"{objects.address} at {objects.endpoint}, credentials accepted")
        check_conditions(objects, mirror.state, anew=True)
        yield Finding("conditional writes", ok=True, found="If-Match and If-None-Match are honoured")
    except BankReadOnlyError as error:
        yield Finding("conditional writes", ok=True, found=f"not tried: {error.strerror}")
    except FeatureBankError as error:
        yield Finding("bucket", ok=False, found=str(error), remedy="see docs/guide/storage.md")
    limit = f", at most {mirror.limit / 1e9:.1f} GB" if mirror.limit is not None else ""
    yield Finding("mirror", ok=True, found=f"{mirror.used_bytes() / 1e9:.1f} GB of shards and models{limit}")


def _cache(cache: Path) -> Finding:
    directory = next(path for path in (cache.absolute(), *cache.absolute().parents) if path.exists())
    free = shutil.disk_usage(directory).free
    state = f"{cache.absolute()}, {free / 1e9:.1f} GB free"
    if not directory.is_dir():
        return Finding("cache", ok=False, found=f"{directory} is a file", remedy="choose another one with --cache DIR")
    if not os.access(directory, os.W_OK):
        return Finding("cache", ok=False, found=f"{state}, not writable", remedy="choose another one with --cache DIR")
    return Finding("cache", free >= _LEAST_FREE, state, "free some space, or choose another one with --cache DIR")


def _locks(cache: Path) -> Finding:
    import tempfile

    from featurebank.bank.locks.writer_lock import WriterLock

    place = cache if cache.is_dir() else Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".doctor-") as directory, WriterLock(Path(directory)):
            return Finding("file locks", ok=True, found=f"work in {place}")
    except (OSError, NotImplementedError) as error:
        return Finding("file locks", ok=False, found=str(error), remedy="choose a --cache on a disk with file locks")


def _openvino() -> Finding:
    from featurebank.engine.openvino import has_bfloat16, openvino_version

    try:
        native = has_bfloat16()
    except MissingDependencyError as error:
        remedy = "pip install --force-reinstall openvino; until then 'auto' takes TensorFlow, which is slower"
        return Finding("OpenVINO runs", ok=False, found=str(error), remedy=remedy)
    bfloat16 = "native in this processor" if native else "not in this processor"
    return Finding("OpenVINO runs", ok=True, found=f"yes, version {openvino_version()}, bfloat16 {bfloat16}")


def _engine() -> Finding:
    from featurebank.engine.catalog import automatic_choice

    choice = automatic_choice()
    return Finding("engine", ok=True, found=f"auto takes {choice.name}: {choice.reason}")


def _tensorflow() -> Finding:
    # In a separate process: importing TensorFlow here would cost the caller seconds, and it may crash.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT_TENSORFLOW], capture_output=True, text=True, timeout=120, env=environment,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding(
            "TensorFlow runs", ok=False, found="no answer in 120 s", remedy="pip install --force-reinstall tensorflow"
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Finding("TensorFlow runs", ok=False, found=last, remedy="pip install --force-reinstall tensorflow")
    return Finding("TensorFlow runs", ok=True, found=f"yes, {done.stdout.strip()} GPUs")

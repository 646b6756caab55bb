"""The addresses of clusters: `local:N`, `tcp://host:port`, `host:port`."""

from __future__ import annotations

from featurebank.cluster.packages import import_distributed
from featurebank.errors import ConfigError
from featurebank.system.runtime import usable_cores
from featurebank.words import one_line

LOCAL = "local:"
_MOST_PER_CORE = 8
_EXPECTED = "expected local:N, as local:2, or the address of a Dask scheduler, as tcp://host:8786"


def local_workers(text: str) -> int | None:
    """Returns the number of workers of `local:N`; None if the text is the address of a scheduler.

    Raises:
        ConfigError: the number is not a whole number, below 1, or far above the number of cores.

    Example:
        >>> local_workers("local:2"), local_workers("tcp://10.0.0.1:8786")
        (2, None)
    """
    if not text.startswith(LOCAL):
        return None
    number, most = text.removeprefix(LOCAL), _MOST_PER_CORE * usable_cores()
    if not (number.isascii() and number.isdigit()) or int(number) < 1:
        message = f"--cluster is '{one_line(text, 80)}': expected local:N with 1 worker or more, as local:2"
        raise ConfigError(message)
    if int(number) > most:
        message = (
            f"--cluster is '{one_line(text, 80)}': expected local:{most} or less, {_MOST_PER_CORE} workers for each "
            "of this machine's cores"
        )
        raise ConfigError(message)
    return int(number)


def scheduler_address(text: str) -> str:
    """Returns the whole address of a scheduler, with its protocol.

    Raises:
        ConfigError: the text is no address, or Dask does not know its protocol.
        MissingDependencyError: distributed is not installed.

    Example:
        >>> scheduler_address("10.0.0.1:8786")
        'tcp://10.0.0.1:8786'
    """
    distributed = import_distributed()
    comm = distributed.comm
    shown = one_line(text, 80)
    protocol = text.partition("://")[0] if "://" in text else "tcp"
    known = sorted(distributed.comm.registry.backends)
    if protocol not in known:
        message = f"--cluster is '{shown}': Dask knows no protocol '{one_line(protocol, 40)}', only {', '.join(known)}"
        raise ConfigError(message)
    whole = text if "://" in text else f"tcp://{text}"
    try:
        host, port = comm.get_address_host_port(whole, strict=True)
    except (ValueError, NotImplementedError):
        host, port = "", 0
    if not host or not 0 < int(port or 0) < 1 << 16:
        message = f"--cluster is '{shown}': {_EXPECTED}"
        raise ConfigError(message)
    return whole


def check_address(text: str) -> None:
    """Checks an address before any work begins; see `scheduler_address` for the errors."""
    import_distributed()
    if local_workers(text) is None:
        scheduler_address(text)

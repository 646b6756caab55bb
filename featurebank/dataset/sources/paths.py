"""Images at listed paths: relative to one root, absolute, or URLs, in any mixture."""

from __future__ import annotations

import os
from collections.abc import Sequence

from featurebank.dataset.fingerprint import Pixels, Stamp
from featurebank.dataset.sources.folder import Files
from featurebank.dataset.sources.remote import check_urls, fetch, is_url
from featurebank.errors import LostImageError
from featurebank.system import digest


class Paths(Files):
    """Images at listed paths.

    Args:
        root: base of relative paths: an absolute path or a URL.
        ids: the paths, relative with "/", absolute, or URLs.

    Raises:
        MissingDependencyError: a package that a URL needs is not installed.
        DatasetError: a URL is of an unknown kind.
    """

    def __init__(self, root: str, ids: Sequence[str]) -> None:
        super().__init__(root, tuple(ids), {})
        urls = [name for name in ids if "://" in name and is_url(name)]
        if is_url(root):
            urls.append(root)
        check_urls(urls)

    def path(self, index: int) -> str:
        """Returns the path or the URL of an image."""
        name = self._ids[index]
        return name if is_url(name) or os.path.isabs(name) else f"{self.root}/{name}"  # noqa: PTH117 - strings, as in `Files`

    def cut(self, indices: Sequence[int]) -> Pixels:
        """Returns some of the images; see `featurebank.dataset.cutting`."""
        return Paths(self.root, [self._ids[index] for index in indices])

    def stamp(self, index: int) -> Stamp | None:
        """Returns the stamp of a file; None for a URL, which is downloaded again."""
        return None if is_url(self.path(index)) else super().stamp(index)

    def digest(self, index: int) -> str:
        """Returns the digest of a file's bytes; raises OSError if they cannot be read."""
        path = self.path(index)
        return digest.of_bytes(fetch(path)) if is_url(path) else super().digest(index)

    def _bytes(self, index: int) -> bytes:
        path = self.path(index)
        if not is_url(path):
            return super()._bytes(index)
        try:
            return fetch(path)
        except OSError as error:
            raise LostImageError(str(error)) from error

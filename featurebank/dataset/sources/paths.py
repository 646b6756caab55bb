"""Images at listed paths: relative to one root, absolute, or URLs, in any mixture."""

from __future__ import annotations

import os
from collections.abc import Sequence

from featurebank.dataset.fingerprint import Pixels, Stamp
from featurebank.dataset.remote.fetching import check_urls, download, fetch, is_url, version_of
from featurebank.dataset.remote.image_store import find_image, keep_image
from featurebank.dataset.sources.folder import Files
from featurebank.errors import LostImageError


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
        """Returns the stamp of a file, or what a server says about the version of a URL; None if it says nothing."""
        path = self.path(index)
        return version_of(path) if is_url(path) else super().stamp(index)

    def versioned(self, index: int) -> tuple[str, Stamp | None] | None:
        """Downloads an image and returns its digest with its stamp; None for a file of this machine."""
        path = self.path(index)
        if not is_url(path):
            return None
        data, version = download(path)
        return keep_image(data), version

    def digest(self, index: int) -> str:
        """Returns the digest of a file's bytes; raises OSError if they cannot be read."""
        path = self.path(index)
        return keep_image(fetch(path)) if is_url(path) else super().digest(index)

    def _bytes(self, index: int, expected: bytes | None = None) -> bytes:
        """Returns the bytes of an image; those that a URL had when it was expected, if they are kept."""
        path = self.path(index)
        if not is_url(path):
            return super()._bytes(index)
        data = None if expected is None else find_image(expected.decode())
        if data is not None:
            return data
        try:
            data = fetch(path)
        except OSError as error:
            raise LostImageError(str(error)) from error
        keep_image(data)
        return data

"""Files behind URLs: `fetching` reads them, with time limits and retries; `image_store` keeps those that are images.

fsspec is imported where it is needed. Open `fetching` first.
"""

"""The bank: features on disk, found by the content of the images.

A bank is a directory with a manifest (JSON), an item table (NPZ) and shards (HDF5). A shard holds rows: the features of
some images at some taps in one view, sorted by the digests of the images' contents. The item table lists the images of
the dataset, and the same digest leads from an image to its rows. Shards never change; the manifest is replaced as a
whole, so that readers always see a complete bank. docs/reference/bank-format.md describes the files.

Open `reader` first, which has `Bank`, then `manifest` and `rows`; `shard` is the only module that reads and writes HDF5
shards.
"""

from featurebank.bank.catalog import BankSummary, banks_of, find_bank_path
from featurebank.bank.reader import Bank

__all__ = ["Bank", "BankSummary", "banks_of", "find_bank_path"]

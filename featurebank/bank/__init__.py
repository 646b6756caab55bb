"""The bank: stored features, keyed by the content of the images.

`open_bank` returns a `Bank`. Open `reader` first, then `manifest`; `shard` is the only module that knows HDF5.
"""

from featurebank.bank.catalog import find_bank, list_banks
from featurebank.bank.reader import Bank, open_bank

__all__ = ["Bank", "find_bank", "list_banks", "open_bank"]

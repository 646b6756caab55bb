"""The bank: stored features, keyed by the content of the images."""

from featurebank.bank.reader import Bank, open_bank
from featurebank.bank.upkeep import find_bank, list_banks

__all__ = ["Bank", "find_bank", "list_banks", "open_bank"]

"""Readers of dataset files: tables, text lists, NPZ archives, CIFAR's batches, folder trees.

Each reader takes an untrusted path or bytes, and returns columns or raises `DatasetError`. Open `table_files` first.
"""

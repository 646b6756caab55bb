"""The files that datasets are read from: tables, text lists, NPZ archives, CIFAR's batches, trees of folders.

Each reader gets a path or bytes that nobody vouches for, and returns columns or raises `DatasetError`. Open
`table_files` first.
"""

"""What every room uses and what knows nothing of features: digests, files, threads, progress, sealed records.

Imports nothing but `errors` and `words`. Open `files` first: everything that is written goes through it.
"""

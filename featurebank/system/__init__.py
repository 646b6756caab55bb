"""Foundations that know nothing of features: digests, files, threads, progress, JSON files with checksums.

Imports only `errors` and `words`. Open `files` first: everything that featurebank writes goes through it.
"""

"""Weights: where they come from, how their files are found, checked, downloaded and read.

Open `source` first.
"""

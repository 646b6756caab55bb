"""Weights: their sources, and how their files are located, checked, downloaded and read.

Open `source` first.
"""

"""Runs: records of fitted heads, and their ranking, comparison and selection by validation results.

Open `run` first, then `ranking`.
"""

"""Runs: records of fitted heads, and their ranking, comparison and selection by validation results.

A run is one head that was fitted with one seed on one fold (or on the bank's own split), or a fine-tune. Its record is
a JSON file in the `runs` folder of the bank. Runs that differ only in seed and fold have the same specification.
Ranking, leaderboard and selection compare specifications, by their means over seeds and folds.

Open `run` first, then `ranking`.
"""

"""Runs: fitted heads with everything that is known of them, ranked, compared and selected by validation alone.

Open `run` first, then `ranking`.
"""

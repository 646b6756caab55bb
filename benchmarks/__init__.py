"""Benchmarks: each is a question, answered as a ratio within one run. `python -m benchmarks` lists them."""

"""Tutorials: notebooks that are stored with their results; `python -m docs.tutorials` executes those that have changed.

Begin with `__main__`; `notebooks` executes and checks, `results` cleans what a kernel has returned.
"""

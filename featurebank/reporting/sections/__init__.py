"""The sections of a report: each file gathers one subject as plain values, and `wording` has their sentences.

Nothing here writes HTML. Open `gathering` in the folder above first, which calls all of them.
"""

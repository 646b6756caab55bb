"""How fitted heads lie on disk: arrays and JSON, and a closed list of classes. Nothing in a file runs.

Open `saving` first.
"""

"""Heads: whatever is trained on a bank's features."""

"""Heads: classifiers that are trained on a bank's features.

`base` is the contract and `catalog` lists the kinds. Every head is a scikit-learn classifier. To add a kind, write a
file and register it there.
"""

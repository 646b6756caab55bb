"""Heads: classifiers that are trained on a bank's features.

Every head is a scikit-learn classifier. `base` has the interface, and `catalog` lists the kinds by name; to add a kind,
write a file and register it there. The kinds differ in how they are trained:

- `exact`, `boosted`, `estimators`: without epochs, each head by itself, but with shared computations on the images.
- `neural`, `maps`, `layered`: by gradient descent, many heads of a family at the same time (`kinds.Family`).
"""

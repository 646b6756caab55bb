"""Joined taps: the features of several taps, backbones and columns of metadata side by side.

`text` is their grammar, `parts` finds the parts of a text in the banks, `rows` reads their features, and `training`
loads the training data of a head. `featurebank.heads.joined` has the head and its scale.
"""

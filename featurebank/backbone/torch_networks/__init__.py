"""Networks of PyTorch: how they are tapped, listed, and filled with weights. Open `spec` first, then `network`.

A library of networks implements `TorchSpec` in its file of `backbone.families`; everything else is here. PyTorch itself
comes from `system.imports.torch`, and is imported when a network is first looked at.
"""

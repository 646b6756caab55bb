"""A user's `torch.nn.Module` as a backbone: checked, looked at, and identified by what it computes.

Open `network` first. `families/user_source.py` calls it where MODULE:FUNCTION returns a module of PyTorch.
"""

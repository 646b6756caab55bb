"""Heads on vectors that are trained by gradient descent: softmax, MLP, CAM.

Open `base` first; `together` trains those of one shape in one program.
"""

"""The compiled TensorFlow steps that train many heads of one shape at once. No other room writes such steps.

Open `dense` first.
"""

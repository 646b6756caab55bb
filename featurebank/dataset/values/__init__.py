"""Datasets of what a program holds: arrays, lists of files, data frames, and batches of Keras or tf.data.

`catalog` recognises them and turns each into a `Contents`, which `registry` remembers under a specification, so that the
images can be read again by it as long as the process lives. Nothing here imports pandas, polars, Keras or TensorFlow.
"""

"""Datasets of what a program holds: arrays, lists of files, data frames, and batches of Keras or tf.data.

`catalog` recognises them and turns each into a `Contents`. `registry` remembers it under a specification, so that the
images can be read again as long as the process lives. Nothing here imports pandas, polars, Keras or TensorFlow.
"""

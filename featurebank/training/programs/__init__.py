"""The compiled TensorFlow steps that train heads and Keras models. No other folder contains such steps.

`dense` and `maps` train many heads of one shape at once, `keras_step` trains one Keras model. `layers`, `losses`,
`normalisation` and `tensors` are their parts. Open `dense` first.
"""

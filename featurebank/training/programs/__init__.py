"""The compiled TensorFlow steps that train heads and Keras models. No other folder contains such steps.

`dense` and `maps` train many heads of one shape at once, `keras_step` trains one Keras model. `layers`, `losses`,
`normalisation` and `tensors` are their parts, and `compilation` turns functions into programs. Open `dense` first.
"""

XLA = True
"""Whether XLA compiles the steps. Tests turn it off where training is a means: compiling takes longer than that."""

"""The facade: every public function, as `import featurebank as fb` offers it.

A function here has the full documentation. It turns its arguments into the types of the stages, calls the stage with
its options object, and returns public objects. Nothing else in the package imports this folder; the command line calls
the stages itself. `banks` and `heads` have the two functions that most scripts call, `extract` and `train_heads`.
"""

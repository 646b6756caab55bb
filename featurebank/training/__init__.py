"""Training by gradient descent: options, batches, the loop over epochs, optimizers, schedules, early stopping, dropout.

Nothing here knows what kind of head it trains: heads and fine-tunes bring a `Network` (`batches.py`) and
`TrainingOptions` (`options.py`, the file to open first), `loop.py` trains them. `programs/` has the compiled steps.
"""

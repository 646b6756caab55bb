"""How heads with epochs are trained: options, batches, optimizers, schedules, early stopping.

Knows no kind of head. Open `options` first, then `loop`.
"""

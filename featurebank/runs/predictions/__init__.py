"""The validation predictions of runs, and any metric of any run.

`stored` writes and reads the predictions of a run, one file beside its record. `scoring` finds the value of a metric
for runs: in their records, from their stored predictions, or by training their heads again. Open `scoring` first.
"""

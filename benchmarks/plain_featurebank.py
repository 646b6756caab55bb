"""The same as `plain_script.py` with featurebank, which shows progress where standard error is a terminal.

The confusion matrix is that of the best head on validation images that it was not trained on.
"""

import sys

import featurebank as fb

grid = [{"kind": kind, "C": [0.01, 0.1, 1.0, 10.0]} for kind in ("logistic", "svm")]
near = {"kind": "knn", "n_neighbors": [1, 5, 10, 20]}
mlp = {"kind": "mlp", "hidden_units": [[256]], "dropout": 0.5, "epochs": 30}
bank = fb.extract(sys.argv[1], "efficientnet_lite0")
best = fb.select(fb.train_heads(bank, [*grid, near, mlp], folds=5))
print(*(f"{one.mean:.3f}  {one.spec}" for one in fb.leaderboard(bank).entries), best.confusion_matrix(), sep="\n")

"""Stage: what a bank says about its data, from the features alone: doubtful labels, outliers, what more images bring.

`stage` is the entry point. Each analysis is a module with a pure function and a frozen result: `label_errors`,
`outliers`, `duplicates`, `confusions`, `learning_curve`, `labelling`; `corrections` reads what a person decided.
"""

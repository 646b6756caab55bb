"""The charts: Altair charts from plain values, and the files and pages that hold them.

Every function takes lists, dictionaries and numpy arrays, and returns an Altair chart; none knows a bank or a run. So
banks, runs, leaderboards and reports draw with the same code. Begin with `theme`, which holds colours and fonts for
light and dark pages, and with `history`, which is typical. `files` saves a chart, `embedding` prepares it for a page.

Names of classes, files and runs may come from strangers. They are values in the data of a chart; they are never the
name of a field, and never a part of an expression.
"""

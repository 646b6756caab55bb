"""What the predictions of runs cost: seconds and bytes of an image in the bank, and images a second in use.

`table` has the costs of all runs of a leaderboard; open it first. `speed` measures images a second on this machine.
"""

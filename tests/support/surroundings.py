"""What the tests of a process find around them; imported before anything reads it."""

import os
import signal

for _name in ("COLUMNS", "LINES"):  # what is printed does not depend on the terminal the tests are started from
    os.environ.pop(_name, None)

# The tests compile hundreds of small programs: each in one piece takes less time. The level of optimization stays as
# it is for users: code of level 0 computes NaN for some heads, and it is slow in whatever trains for long.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_parallel_codegen_split_count=1")

if "PYTEST_XDIST_WORKER" in os.environ:  # threads of several processes would wait for each other, and spin meanwhile
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell runs in the background is deaf to Ctrl-C, and so is every process that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

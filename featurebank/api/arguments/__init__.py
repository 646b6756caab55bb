"""What the public functions accept, and how it becomes what the stages take.

Each kind of argument has an annotation that says which values are accepted (`DatasetLike`), and a function that
converts these (`as_dataset`). `checks` compares the arguments of each call with the annotations of its function.
"""

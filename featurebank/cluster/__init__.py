"""Work on many machines through dask.distributed: pieces of an extraction, slices of a grid, fine-tunes.

`client` connects to a scheduler, or starts one with workers of its own (`local`, `local_worker`); `checks` examines the
workers before they get work. Features never travel: a task is a range of image digests or a list of runs, and its
result is a file on the disk that all machines share. Open `client` first.
"""

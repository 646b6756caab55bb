"""Work on many machines through dask.distributed: pieces of an extraction, slices of a grid, fine-tunes.

`client` connects to a scheduler and checks its workers, `worker` is what runs on them. Features never travel: a task is
a range of image digests or a list of runs, and its result is a file on the disk that all machines share. Open `client`
first.
"""

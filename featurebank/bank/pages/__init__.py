"""Pages: files of columns beside the manifest, which lists them. So the manifest stays small in a bank of any size.

A page is written once, named by its checksum and memory-mapped by readers. `shard_pages` hold the entries of many
shards and the digests of their rows; `item_runs` hold the table of images, so that a change of a few images writes
these alone. Open `page` first, which has the file format.
"""

"""Where the files of a cache are stored, besides the local disk: the interface that an object storage implements.

`protocol` says what such a storage does and finds the one of a path; `directories` lists, removes and copies files of a
cache wherever they are stored. `system/files.py` reads and writes them. Open `protocol` first.
"""

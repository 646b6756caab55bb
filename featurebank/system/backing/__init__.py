"""Where the files of a cache are stored, besides the local disk: the interface that an object storage implements.

`protocol` says what such a storage does and finds the one of a path; `directories` lists, removes and copies files of a
cache wherever they are stored; `temporaries` names files that are being written, and removes those of killed processes.
`system/files.py` reads and writes files. Open `protocol` first.
"""

"""Who holds what: the writer of a bank, the process that trains a run, the process that fine-tunes.

A lock is the kernel's file lock, and a note with a heartbeat for people and for disks without locks. Open `note`
first.
"""

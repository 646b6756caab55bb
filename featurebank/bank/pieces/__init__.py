"""Pieces of an extraction: rows that several processes or machines compute without the bank's lock.

A piece writes its rows as shards, under their final names, into the bank's directory, and then one note into the
directory `.pieces` of the bank. A shard that no manifest lists does not exist for readers; a later process that holds
the lock lists the shards of all notes. Open `notes` first, then `writer` and `adoption`. `waiting_rows`
holds rows until they become a shard, also for `BankWriter`.
"""

"""Extractions in pieces, which any number of processes and machines compute without the bank's lock.

The images of a request are cut into slices (`slices`), whose size depends on the request alone, never on the number of
workers. A piece (`plan`) is a slice without the rows that the bank has. `PieceRunner` in `runner` computes pieces in a
process, and `list_pieces` in `listing` lists the finished ones. `part` is `featurebank extract --part`.
"""

"""Grids of heads and fine-tunes on the workers of a cluster.

`heads` and `finetunes` run in the client, `head_tasks` and `finetune_tasks` on workers, and `head_checks` on both. Open
`heads` first.
"""

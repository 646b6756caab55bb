"""Public functions that train networks; those that train heads are in `api/heads.py`.

Open `finetunes` first.
"""

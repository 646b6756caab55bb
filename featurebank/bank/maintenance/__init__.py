"""Operations on whole banks: verify, merge, collect garbage, share rows between banks.

Every function decides first and acts afterwards. Open `verify` first.
"""

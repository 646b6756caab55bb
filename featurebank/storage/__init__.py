"""Object storage: a cache in a bucket, with a local mirror that holds what was used last.

`objects` reads and writes single objects under conditions, `mirror` keeps a local directory and the bucket in step.
Open `mirror` first.
"""

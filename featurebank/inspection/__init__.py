"""Stage: a dataset in, a report on it out: what can be used, duplicates, near duplicates, advice.

`stage` is the entry; `survey` looks at every image once; `page` draws the report as HTML.
"""

"""Stage: inspects a dataset and reports usable images, duplicates, near duplicates and advice.

`stage` is the entry point; `survey` decodes every image once; `page` renders the report as HTML.
"""

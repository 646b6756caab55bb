"""Stage: writes a report on banks and their runs as one HTML file.

`stage` checks the file, `evidence` has what is known of a bank, `gathering` turns it into `content` (plain values) by
the files in `sections`, and `page` lays that out. Open `stage` first.
"""

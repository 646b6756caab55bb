"""Whole HTML pages that several rooms write, from plain values.

Each page extends `system/templates/page.html.jinja`, as the pages of single rooms do. Open `contact_sheet` first.
"""

"""The charts: Altair charts from plain values, and the files and pages that hold them."""

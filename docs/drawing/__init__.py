"""Makes the pictures of the documentation: `python -m docs.drawing` writes them into docs/pictures, light and dark.

Open `diagrams.py` first: it has the drawings. `canvas.py` writes SVG, `terminal.py` records a terminal, and
`screenshots.py` photographs the report in Chromium.
"""

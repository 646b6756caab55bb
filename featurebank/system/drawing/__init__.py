"""Progress as a person sees it: bars on a terminal or in a notebook, and lines in a log.

Most of it imports rich: import it inside functions. Open `reporter` first: it knows what is being done, and a screen
draws it.
"""

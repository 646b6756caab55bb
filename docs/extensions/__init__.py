"""Extensions of Sphinx: the reference is made from the code, so that it never differs from the code.

`python_pages` writes the pages of the Python interface, with the help of `subjects` (which name is on which page),
`signatures` and `docstrings`. `reference` defines the directives by which the other pages of `docs/reference` show what
is known of commands, heads, backbones, files and errors. `repository` and `pictures` make links and pictures of the
pages work on the site as they do in the source.
"""

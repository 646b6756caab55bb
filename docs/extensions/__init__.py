"""Extensions of Sphinx: the reference is made from the code, so that it never differs from the code.

`python_pages` writes the pages of the Python interface, with the help of `subjects` (which name is on which page),
`signatures` and `docstrings`. `command_pages`, `head_pages`, `backbone_pages`, `field_pages`, `file_pages` and
`error_pages` each define a directive for the other pages of `docs/reference`, with the help of `generated`.
`repository` and `pictures` make links and pictures of the pages work on the site as they do in the source.
"""

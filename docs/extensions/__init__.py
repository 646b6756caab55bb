"""Extensions of Sphinx that make the reference from the code, so that it never differs from the code.

`python_pages` writes the pages of the Python interface, with the help of `subjects` (which name is on which page),
`signatures` and `docstrings`. `command_pages`, `head_pages`, `backbone_pages`, `file_pages` and `error_pages` define a
directive each, which stands on a page of `docs/reference`.
"""

"""Settings of the site, which `python -m docs` builds."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "featurebank"
author = "The featurebank developers"
version = release = installed_version("featurebank")

extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
exclude_patterns = ["_build"]
nb_execution_mode = "off"  # notebooks are stored with their results
myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_heading_anchors = 4  # links to headings have the names that GitHub gives them
html_theme = "pydata_sphinx_theme"
html_title = "featurebank"

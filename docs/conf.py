"""Settings of the site, which `python -m docs` builds."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the extensions of this project

project = "featurebank"
author = "The featurebank developers"
version = release = installed_version("featurebank")
copyright = f"{author}, version {version}"
language = "en"

extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docs.extensions.repository",
    "docs.extensions.pictures",
    "docs.extensions.python_pages",
    "docs.extensions.command_pages",
    "docs.extensions.head_pages",
    "docs.extensions.backbone_pages",
    "docs.extensions.field_pages",
    "docs.extensions.file_pages",
    "docs.extensions.error_pages",
]
exclude_patterns = ["_build"]
nitpick_ignore_regex = [("py:.*", ".*")]  # types of other packages have no page here
nb_execution_mode = "off"  # notebooks are stored with their results
myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_heading_anchors = 4  # links to headings have the names that GitHub gives them
html_theme = "pydata_sphinx_theme"
html_title = "featurebank"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_favicon = "static/mark.svg"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"image_light": "_static/mark.svg", "image_dark": "_static/mark.svg", "text": "featurebank"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_nav_level": 1,
    "navigation_depth": 3,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "primary_sidebar_end": [],
    "search_bar_text": "Search",
    "search_as_you_type": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars: dict[str, list[str]] = {"index": [], "404": [], "files/**": []}
html_context = {"default_mode": "auto"}  # as the reader's system, light or dark
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_use_rtype = False
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"

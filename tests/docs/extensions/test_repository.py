"""Files and folders beside `docs/` have a page of the site if a page links to them."""

from __future__ import annotations

import pytest
from built_site import ROOT, Site

pytestmark = pytest.mark.heavy


def test_a_link_to_a_folder_leads_to_its_files(site: Site) -> None:
    folder = site.folder / "files" / "featurebank" / "grid" / "builtin.html"
    targets = {link.target for link in site.links(folder)}
    assert {f"builtin/{path.name}.html" for path in (ROOT / "featurebank/grid/builtin").glob("*.toml")} <= targets
    assert "../files/featurebank/grid/builtin.html" in {
        link.target for link in site.links(site.folder / "guide" / "heads.html")
    }


def test_the_page_of_a_file_shows_it(site: Site) -> None:
    page = site.pages[site.folder / "files" / "pipelines" / "quickstart.toml.html"]
    assert "efficientnet_lite0" in page


def test_a_link_to_contributing_leads_to_its_page(site: Site) -> None:
    assert site.folder / "develop" / "contributing.html" in site.pages
    assert not (site.folder / "files" / "CONTRIBUTING.md.html").exists()

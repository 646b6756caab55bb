"""Writes the pages of the Python interface: one for each subject, one for each name.

The pages are written into `reference/python` before Sphinx reads its sources, and git ignores them. autodoc fills them
from the docstrings; this extension makes the signatures and the links readable.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs.extensions.docstrings import MADE_BY_USERS, documented_members, linked, with_attributes
from docs.extensions.signatures import STANDS_FOR, field_types, signature_text
from docs.extensions.subjects import INTERNAL, SUBJECTS, Subject, pages, public_object, result_class

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_ALIAS = "Alias for field number"


def page_texts() -> dict[str, str]:
    """Returns the text of each page by the name of its file."""
    texts = {}
    for subject in SUBJECTS:
        texts[f"{subject.slug}.rst"] = _subject_page(subject)
        for kind in _objects(subject):
            texts[f"{_file(kind)}.rst"] = _object_page(kind)
    return texts


def _objects(subject: Subject) -> list[Any]:
    return [*map(public_object, subject.names), *map(result_class, subject.results)]


def _file(kind: Any) -> str:
    """Returns the name of the page of an object; file systems may not tell capitals from small letters."""
    name = str(kind.__name__)
    return f"class-{name}" if inspect.isclass(kind) else name


def _subject_page(subject: Subject) -> str:
    """Returns the page of a subject: a table with the first sentence of each name, and the pages below it."""
    parts = [
        _heading(subject.title, "="),
        subject.about,
        _table([public_object(name) for name in subject.names], "fb."),
    ]
    if subject.results:
        parts += [_heading("What they return", "-"), _table([result_class(place) for place in subject.results])]
    entries = "\n".join(f"   {_file(kind)}" for kind in _objects(subject))
    parts.append(f".. toctree::\n   :hidden:\n\n{entries}")
    return "\n\n".join(parts) + "\n"


def _heading(title: str, line: str) -> str:
    return f"{title}\n{line * len(title)}"


def _table(kinds: list[Any], prefix: str = "") -> str:
    """Returns a table of names that are links, with the first sentence of each."""
    rows = [("name", "what it does" if prefix else "what it is")]
    for kind in kinds:
        (sentence,) = linked([first_sentence(kind)])
        rows.append((f":doc:`{prefix}{kind.__name__} <{_file(kind)}>`", sentence))
    lines = [f"   * - {name}\n     - {text}" for name, text in rows]
    return "\n".join([".. list-table::", "   :header-rows: 1", "   :widths: 25 75", "", *lines])


def first_sentence(kind: Any) -> str:
    """Returns the first sentence of a docstring."""
    paragraph = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return sentence + "." if stop else paragraph


def _object_page(kind: Any) -> str:
    full = pages()[kind]
    lines = [_heading(kind.__name__, "="), ""]
    if not inspect.isclass(kind):
        return "\n".join([*lines, f".. autofunction:: {full}", ""])
    lines.append(f".. autoclass:: {full}")
    if not issubclass(kind, Exception) and (members := documented_members(kind)):
        lines += ["   :undoc-members:", f"   :members: {', '.join(members)}"]
    return "\n".join([*lines, ""])


def write_pages(folder: Path, texts: Mapping[str, str]) -> None:
    """Writes pages that differ from those in a folder, and deletes those that are no page any more."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.rst"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _write(app: Sphinx) -> None:
    write_pages(Path(app.srcdir) / "reference" / "python", page_texts())


def _signature(
    app: Sphinx, what: str, name: str, kind: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str, str] | None:
    """Makes a signature readable; that of a class whose objects featurebank makes is left out."""
    if what in {"class", "exception"}:
        return (signature_text(kind.__init__)[0], "") if kind in MADE_BY_USERS else ("", "") if signature else None
    if what in {"function", "method"} and callable(kind):
        return signature_text(kind)
    return None


def _docstring(app: Sphinx, what: str, name: str, kind: Any, options: Any, lines: list[str]) -> None:
    """Makes links of the names in a docstring, in place; runs before napoleon."""
    if lines and lines[0].startswith(_ALIAS):
        lines.clear()
    is_class = what in {"class", "exception"}
    owner = kind if is_class else next((one for one, full in pages().items() if name.startswith(f"{full}.")), None)
    lines[:] = linked(lines, owner)
    if is_class and kind not in MADE_BY_USERS:
        lines[:] = with_attributes(lines, kind, field_types(kind))
    if what in {"attribute", "property"}:  # napoleon would take the words before a colon for a type
        from sphinx.ext.napoleon.docstring import GoogleDocstring

        lines[:] = ["..", "", *GoogleDocstring(lines, app.config, app, "method", name, kind).lines()]


def _reference(app: Sphinx, environment: Any, node: Any, content: Any) -> Any:
    """Links a type by the module that defines it to its page, which has its public name.

    A class without a page, such as one of Python or of another package, stays text: the site links to no other.
    """
    target = str(node.get("reftarget", ""))
    name = target.rpartition(".")[2]
    defined = {f"{kind.__module__}.{kind.__qualname__}": full for kind, full in pages().items()}
    if full := defined.get(target) or STANDS_FOR.get(name):
        domain = environment.domains["py"]
        return domain.resolve_xref(environment, node["refdoc"], app.builder, "class", full, node, content)
    is_text = not target.startswith("featurebank.") or name in INTERNAL
    return content if node.get("refdomain") == "py" and node.get("reftype") == "class" and is_text else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("builder-inited", _write)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _docstring, priority=400)
    app.connect("missing-reference", _reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

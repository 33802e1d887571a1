"""Narrative.div: only the XHTML that FHIR allows, and nothing that runs or loads (FHIR R4 2.4.1, txt-1, txt-2)."""

import re
from collections.abc import Iterator
from html.entities import name2codepoint

from gateway.errors import Issue
from mappings.xml_tree import Node, NotXml, parse_xml

MAX_ELEMENTS = 100_000
MAX_DEPTH = 100
_XHTML = "http://www.w3.org/1999/xhtml"
_ELEMENT_NAMES = """a abbr acronym address area b bdo big blockquote br caption cite code col colgroup dd dfn div dl
    dt em h1 h2 h3 h4 h5 h6 hr i img kbd li map ol p pre q samp small span strong sub sup table tbody td tfoot th thead
    tr tt ul var"""
_ATTRIBUTE_NAMES = """abbr accesskey align alt axis border cellpadding cellspacing char charoff charset cite class
    colspan coords dir frame headers height href hreflang id idref ismap lang longdesc name nohref nowrap rel rev
    rowspan rules scope shape space span src start style summary tabindex title type usemap valign value width"""
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
"""Chapters 7 to 11 (except section 4 of chapter 9) and 15 of HTML 4.0, ``a`` and images."""
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_LINKS = frozenset({"href", "src", "cite", "longdesc", "usemap"})
_SCHEMES = ("http:", "https:", "mailto:", "tel:", "ftp:")
_LOADING_STYLES = ("url(", "expression(", "@import", "javascript:", "behavior:", "-moz-binding", "\\")


def narrative_faults(div: str, path: str) -> Iterator[Issue]:
    """``path`` is the FHIRPath of the div. Names of elements are told, never what stands in them."""
    try:
        content = (_ENTITY.sub(_character, div) if "&" in div else div).encode()
        root = parse_xml(content, len(content), MAX_ELEMENTS, MAX_DEPTH)
    except (NotXml, UnicodeEncodeError) as error:
        yield _issue(
            f"Well-formed XHTML was expected. {error if isinstance(error, NotXml) else ''}".strip(), path
        )
        return
    if (root.name, root.namespace) != ("div", _XHTML):
        text = f"One 'div' in the namespace {_XHTML} was expected, and another element was found."
        yield _issue(text, path)
        return
    yield from (_issue(text, path) for text in dict.fromkeys(_inside(root)))
    if not _says_something(root):
        yield _issue("The narrative is empty: text or an image was expected (txt-2).", path)


def _character(entity: re.Match[str]) -> str:
    """XHTML has names for characters that XML has not."""
    return f"&#{name2codepoint[entity[1]]};" if entity[1] in name2codepoint else entity[0]


def _inside(root: Node) -> Iterator[str]:
    pending = [root]
    while pending:
        node = pending.pop()
        if node.namespace != _XHTML or node.name not in _ELEMENTS:
            yield f"The element '{node.name[:32]}' is not allowed in a narrative (txt-1)."
        for name, value in node.attributes.items():
            if fault := _attribute_fault(name, value):
                yield fault
        pending += node.children


def _attribute_fault(name: str, value: str) -> str:
    local_name = name.rpartition(" ")[2].casefold()
    if local_name not in _ATTRIBUTES:
        return f"The attribute '{local_name[:32]}' is not allowed in a narrative (txt-1)."
    if local_name in _LINKS and not _is_harmless(value):
        return f"The attribute '{local_name}' leads to what a narrative must not load or run."
    if local_name == "style" and any(part in value.casefold() for part in _LOADING_STYLES):
        return "The attribute 'style' loads or runs something; in a narrative it must not."
    return ""


def _is_harmless(link: str) -> bool:
    """A fragment, a relative address, a known scheme, or an image that stands in the link itself."""
    plain = "".join(link.split()).casefold()
    scheme, colon, _ = plain.partition(":")
    if not colon or not scheme.replace("+", "").replace("-", "").replace(".", "").isalnum():
        return not any(character < " " for character in plain)
    return plain.startswith(_SCHEMES) or (
        plain.startswith("data:image/") and not plain.startswith("data:image/svg")
    )


def _says_something(root: Node) -> bool:
    pending = [root]
    while pending:
        node = pending.pop()
        if node.name == "img" or node.text.strip():
            return True
        pending += node.children
    return False


def _issue(text: str, path: str) -> Issue:
    return Issue("error", "invalid", text, path)

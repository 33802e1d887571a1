"""FHIR XML (FHIR R4 2.6.1) <-> the same resource as the JSON of FHIR R4 2.6.2, which the rest of the gateway reads.

What a document says is taken over as it stands, also where it is wrong: ``validation`` finds that, and names it by its
FHIRPath. Comments, processing instructions and ``xsi`` attributes say nothing and are left out.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from fhir_core.fhirabstractmodel import FHIRAbstractModel

from gateway.errors import NotFhir
from gateway.fhir.json_format import number
from mappings.fhir_definitions import Element, Release, data_type, elements_of, resource_model
from mappings.xml_tree import Node, NotXml, parse_xml

NAMESPACE, XHTML = "http://hl7.org/fhir", "http://www.w3.org/1999/xhtml"
MAX_XML_ELEMENTS = 2_000_000
MAX_XML_DEPTH = 128
_ATTRIBUTES = frozenset({"id", "url", "value"})
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'

Json = dict[str, Any]
Model = type[FHIRAbstractModel] | None


def read_xml(body: bytes, release: Release = Release.R4) -> Json:
    """One resource of a release. Raises NotFhir saying what makes it none."""
    if not body.strip():
        raise NotFhir("The body is empty.")
    try:
        root = parse_xml(body, len(body), MAX_XML_ELEMENTS, MAX_XML_DEPTH)
    except NotXml as error:
        raise NotFhir(str(error)) from error
    if root.namespace != NAMESPACE:
        raise NotFhir(f"The body is XML and no FHIR: its element is not in the namespace {NAMESPACE}.")
    return _resource(root, release)


def _resource(node: Node, release: Release) -> Json:
    return {"resourceType": node.name, **_object(node, resource_model(node.name, release), release)}


def _object(node: Node, model: Model, release: Release) -> Json:
    """An element of a complex type."""
    _refuse_strange(node)
    found: Json = {name: node.attributes[name] for name in ("id", "url") if name in node.attributes}
    elements = elements_of(model) if model else {}
    for name, nodes in _by_name(node).items():
        element = elements.get(name)
        if nodes[0].namespace == XHTML:
            found[name] = _narrative(nodes[0])
        elif element is not None and element.is_resource:
            found |= _listed(name, [_inner_resource(one, release) for one in nodes], element)
        elif _is_primitive(element, nodes):
            found |= _primitives(name, nodes, element, release)
        else:
            child = element.child if element else None
            found |= _listed(name, [_object(one, child, release) for one in nodes], element)
    return found


def _refuse_strange(node: Node) -> None:
    """What no element of FHIR has, and no JSON could tell."""
    strange = [name for name in node.attributes if name not in _ATTRIBUTES and " " not in name]
    if strange:
        raise NotFhir(
            f"The element '{node.name[:64]}' has an attribute that FHIR does not know: {strange[0][:64]}."
        )
    if node.text.strip():
        raise NotFhir(f"The element '{node.name[:64]}' holds text; in FHIR XML values are attributes.")


def _by_name(node: Node) -> dict[str, list[Node]]:
    found: dict[str, list[Node]] = {}
    for child in node.children:
        if child.namespace not in (NAMESPACE, XHTML):
            raise NotFhir(f"The element '{child.name[:64]}' is in a namespace that is not of FHIR.")
        found.setdefault(child.name, []).append(child)
    return found


def _is_primitive(element: Element | None, nodes: list[Node]) -> bool:
    """An element that is not known is what it looks like."""
    if element is None:
        return any("value" in node.attributes for node in nodes)
    return element.child is None


def _listed(name: str, values: list[Any], element: Element | None) -> Json:
    """One value of an element that may repeat is a list too; several of one that may not are left for validation."""
    is_list = len(values) > 1 or (element is not None and element.is_list)
    return {name: values if is_list else values[0]}


def _primitives(name: str, nodes: list[Node], element: Element | None, release: Release) -> Json:
    """Values under the name, ids and extensions under ``_name``; null where a list has none (2.6.2.2)."""
    values = [
        _value(node.attributes["value"], element) if "value" in node.attributes else None for node in nodes
    ]
    others = [_about(node, release) or None for node in nodes]
    found: Json = {}
    if any(value is not None for value in values) or not any(others):
        found |= _listed(name, values, element)
    if any(others):
        found |= _listed(f"_{name}", others, element)
    return found


def _about(node: Node, release: Release) -> Json:
    """Id and extensions of a primitive."""
    _refuse_strange(node)
    without_value = Node(node.name, {k: v for k, v in node.attributes.items() if k == "id"}, node.namespace)
    without_value.children = node.children
    return _object(without_value, data_type("Element", release), release)


def _inner_resource(node: Node, release: Release) -> Json:
    """``contained`` and the like hold one resource, under its own name."""
    if len(node.children) != 1:
        raise NotFhir(f"The element '{node.name[:64]}' holds {len(node.children)} resources; it must be one.")
    return _resource(node.children[0], release)


def _value(written: str, element: Element | None) -> Any:
    """As the JSON type of the element, where it is written so; validation tells of the others."""
    kind = element.json_type if element else str
    if kind is bool:
        return {"true": True, "false": False}.get(written, written)
    return written if kind is str else number(written)


def _narrative(node: Node) -> str:
    return "".join(_xhtml(node, is_outermost=True))


def _xhtml(node: Node, is_outermost: bool = False) -> Iterator[str]:
    attributes = "".join(
        f" {_plain_name(name)}={quoteattr(value)}" for name, value in node.attributes.items()
    )
    namespace = f' xmlns="{XHTML}"' if is_outermost else ""
    yield f"<{node.name}{namespace}{attributes}"
    if not node.children and not node.pieces:
        yield "/>"
        return
    yield ">" + escape("".join(node.pieces))
    for child in node.children:
        yield from _xhtml(child)
        yield escape("".join(child.tail))
    yield f"</{node.name}>"


def _plain_name(name: str) -> str:
    """``xml:lang`` is the only attribute of another namespace that XHTML knows."""
    namespace, _, local_name = name.rpartition(" ")
    return f"xml:{local_name}" if namespace else local_name


def to_xml(resource: Json, release: Release = Release.R4) -> bytes:
    """One resource of a release as a document in UTF-8, its elements in the order of their type (2.6.1)."""
    return (_HEAD + "".join(_written_resource(resource, release, f' xmlns="{NAMESPACE}"'))).encode()


def _written_resource(resource: Json, release: Release, namespace: str = "") -> Iterator[str]:
    name = str(resource.get("resourceType"))
    yield f"<{name}{namespace}>"
    inner = {key: value for key, value in resource.items() if key != "resourceType"}
    yield from _written(inner, resource_model(name, release), release, is_resource=True)
    yield f"</{name}>"


def _written(value: Json, model: Model, release: Release, is_resource: bool = False) -> Iterator[str]:
    elements = elements_of(model) if model else {}
    names = dict.fromkeys(key.removeprefix("_") for key in value)
    in_order = _in_order(model) if model else ()
    for name in (*(n for n in in_order if n in names), *(n for n in names if n not in in_order)):
        if name in ("id", "url") and not is_resource and _is_attribute(name, model):
            continue
        yield from _written_element(name, value, elements.get(name), release)


@cache
def _in_order(model: type[FHIRAbstractModel]) -> dict[str, None]:
    """The names of its elements as the schema of the release has them one after another (2.6.1)."""
    return dict.fromkeys(model.elements_sequence())


def _is_attribute(name: str, model: Model) -> bool:
    return name == "id" or (model is not None and model.__name__ == "Extension")


def _written_element(name: str, value: Json, element: Element | None, release: Release) -> Iterator[str]:
    given, others = _as_list(value.get(name)), _as_list(value.get(f"_{name}"))
    for at in range(max(len(given), len(others))):
        one = given[at] if at < len(given) else None
        about = others[at] if at < len(others) else None
        if isinstance(one, dict) and "resourceType" in one:
            yield f"<{name}>"
            yield from _written_resource(one, release)
            yield f"</{name}>"
        elif isinstance(one, dict):
            yield from _tagged(name, one, element.child if element else None, release, "")
        elif name == "div" and isinstance(one, str):
            yield _written_narrative(one)
        elif one is not None or about:
            attribute = "" if one is None else f" value={quoteattr(_text(one))}"
            extended = data_type("Element", release)
            yield from _tagged(name, about if isinstance(about, dict) else {}, extended, release, attribute)


def _tagged(name: str, value: Json, model: Model, release: Release, attribute: str) -> Iterator[str]:
    attributes = "".join(
        f" {key}={quoteattr(_text(value[key]))}"
        for key in ("id", "url")
        if key in value and _is_attribute(key, model)
    )
    inner = "".join(_written(value, model, release))
    yield f"<{name}{attributes}{attribute}>{inner}</{name}>" if inner else f"<{name}{attributes}{attribute}/>"


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _NOT_IN_XML.sub("\ufffd", str(value))


def _written_narrative(div: str) -> str:
    """As it stands where it is XHTML; as plain text in it where it is not."""
    try:
        node = parse_xml(div.encode(errors="replace"), len(div) * 4, MAX_XML_ELEMENTS, MAX_XML_DEPTH)
    except NotXml:
        node = Node("", {})
    if (node.name, node.namespace) == ("div", XHTML):
        return _narrative(node)
    return f'<div xmlns="{XHTML}">{escape(_text(div))}</div>'

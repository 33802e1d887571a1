"""DICOM JSON model <-> Native DICOM Model, its XML (PS3.18 Annex F, F.3.1; PS3.19 A.1).

Both say the same, and either way back gives what was there, but for two things: characters that XML 1.0 cannot hold
become U+FFFD, and empty name components at the end of a name are left out. A Private Data Element is written as
``gggg00ee`` with its ``privateCreator``. The Private Creator Data Elements are written too, as dcmtk does, so that
blocks keep their numbers; where a document leaves them out, blocks are given in the order of their elements.
"""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag

from gateway.errors import NotDicom
from mappings.dicom_nesting import MAX_DEPTH
from mappings.dicom_to_json import Json
from mappings.xml_tree import Node, NotXml, parse_xml

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
MAX_XML_BYTES = 64 * 1024 * 1024
MAX_XML_ELEMENTS = 1_000_000
_MAX_XML_DEPTH = 2 * MAX_DEPTH + 5  # an attribute and an item for each level, a name and its parts within
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_INTEGER_VRS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_FLOAT_VRS = frozenset({"FD", "FL"})
_NUMBER_VRS = _INTEGER_VRS | _FLOAT_VRS | {"DS"}
_INTEGER = re.compile(r"-?\d{1,15}")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = re.compile("[0-9A-Fa-f]{8}")
_UUID_URN = "urn:uuid:"


def to_xml(json: Json) -> bytes:
    """One data set as a document in UTF-8."""
    pieces = [
        f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
    ]
    pieces.extend(_write_data_set(json))
    pieces.append("</NativeDicomModel>")
    return "".join(pieces).encode()


def _write_data_set(json: Json) -> Iterator[str]:
    creators = _creators(json)
    first_block = {(tag[:4], creator): tag[6:] for tag, creator in reversed(creators.items())}
    for tag, element in sorted(json.items()):
        if tag.endswith("0000"):  # group lengths shall not be included (A.1.1)
            continue
        named = ""
        creator = creators.get(f"{tag[:4]}00{tag[4:6]}", "")
        if creator and first_block[tag[:4], creator] == tag[4:6]:
            tag = f"{tag[:4]}00{tag[6:]}"  # a second block of one creator keeps its number: two would be one
        if creator:
            named = f" privateCreator={quoteattr(_plain(creator))}"
        elif keyword := keyword_for_tag(int(tag, 16)):
            named = f' keyword="{keyword}"'
        yield f'<DicomAttribute tag="{tag}" vr={quoteattr(_plain(element["vr"]))}{named}>'
        yield from _write_content(element)
        yield "</DicomAttribute>"


def _creators(json: Json) -> dict[str, str]:
    """By their tags, the Private Creators of a data set that has (gggg,0010-00FF) in odd groups (PS3.5 7.8.1)."""
    return {
        tag: str(element["Value"][0])
        for tag, element in sorted(json.items())
        if int(tag[:4], 16) % 2
        and tag[4:6] == "00"
        and tag[6:] >= "10"
        and (element.get("Value") or [None])[0]
    }


def _write_content(element: Json) -> Iterator[str]:
    if "InlineBinary" in element:
        yield f"<InlineBinary>{element['InlineBinary']}</InlineBinary>"
    elif "BulkDataURI" in element:
        uri = str(element["BulkDataURI"])
        is_uuid = uri.startswith(_UUID_URN)
        named = f"uuid={quoteattr(uri[len(_UUID_URN) :])}" if is_uuid else f"uri={quoteattr(_plain(uri))}"
        yield f"<BulkData {named}/>"
    for number, value in enumerate(element.get("Value", ()), start=1):
        if element["vr"] == "SQ":
            yield f'<Item number="{number}">'
            yield from _write_data_set(value or {})
            yield "</Item>"
        elif element["vr"] == "PN":
            yield f'<PersonName number="{number}">{_write_name(value)}</PersonName>'
        else:
            yield f'<Value number="{number}">{"" if value is None else _text(str(value))}</Value>'


def _write_name(value: Any) -> str:
    groups = value if isinstance(value, dict) else {"Alphabetic": value}
    return "".join(
        f"<{group}>{_write_components(str(groups[group]))}</{group}>"
        for group in _NAME_GROUPS
        if groups.get(group)
    )


def _write_components(group: str) -> str:
    components = zip(_NAME_COMPONENTS, group.split("^", len(_NAME_COMPONENTS) - 1), strict=False)
    return "".join(f"<{name}>{_text(value)}</{name}>" for name, value in components if value)


def _text(found: str) -> str:
    """A line's CR as a reference: readers of XML make LF of it (XML 1.0 2.11)."""
    return escape(_plain(found), {"\r": "&#13;"})


def _plain(found: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", found)


def from_xml(content: bytes) -> Json:
    """The data set of one document.

    Raises NotDicom, in words for the sender, when it is not well-formed, is no Native DICOM Model, has a document type
    or entities, says something twice, or is larger or nested deeper than MAX_XML_BYTES, MAX_XML_ELEMENTS and MAX_DEPTH.
    """
    try:
        root = parse_xml(content, MAX_XML_BYTES, MAX_XML_ELEMENTS, _MAX_XML_DEPTH)
    except NotXml as error:
        raise NotDicom(str(error)) from error
    if root.name != "NativeDicomModel":
        raise NotDicom(
            f"The XML begins with {_shown(root.name)} where NativeDicomModel must be (PS3.19 A.1)."
        )
    return _read_data_set(root)


def _read_data_set(node: Node) -> Json:
    found: Json = {}
    private: list[tuple[str, str, Json]] = []
    for attribute in node.children:
        if attribute.name != "DicomAttribute":
            raise _out_of_place(attribute, node)
        tag, creator = (
            attribute.attributes.get("tag", "").upper(),
            attribute.attributes.get("privateCreator", ""),
        )
        if not _TAG.fullmatch(tag):
            raise NotDicom(
                f"A DicomAttribute has the tag {_shown(tag)}, which is not eight hexadecimal digits."
            )
        element = _read_attribute(tag, attribute)
        if creator and tag[4:6] == "00":
            private.append((tag, creator, element))
        else:
            _put(found, tag, element)
    blocks = {(tag[:4], creator): tag[6:] for tag, creator in reversed(_creators(found).items())}
    for tag, creator, element in private:
        block = blocks.get((tag[:4], creator)) or _new_block(found, tag[:4], creator)
        blocks[tag[:4], creator] = block
        _put(found, f"{tag[:4]}{block}{tag[6:]}", element)
    return dict(sorted(found.items()))


def _put(found: Json, tag: str, element: Json) -> None:
    if tag in found:
        raise NotDicom(f"({tag[:4]},{tag[4:]}) stands twice in one data set.")
    found[tag] = element


def _new_block(found: Json, group: str, creator: str) -> str:
    """A block in the group for a creator that the data set does not name (PS3.5 7.8.1)."""
    used = {tag[6:] if tag[4:6] == "00" else tag[4:6] for tag in found if tag.startswith(group)}
    for number in range(0x10, 0x100):
        if (block := f"{number:02X}") not in used:
            found[f"{group}00{block}"] = {"vr": "LO", "Value": [creator]}
            return block
    raise NotDicom(f"Group {group} has more Private Creators than there are blocks (PS3.5 7.8.1).")


def _read_attribute(tag: str, node: Node) -> Json:
    vr = node.attributes.get("vr") or _usual_vr(int(tag, 16))
    if not (len(vr) == 2 and vr.isascii() and vr.isupper()):
        raise NotDicom(f"({tag[:4]},{tag[4:]}) has the VR {_shown(vr)}.")
    names = {child.name for child in node.children}
    if names <= {"InlineBinary"} and len(node.children) == 1:
        return {"vr": vr, "InlineBinary": "".join(node.children[0].text.split())}
    if names <= {"BulkData"} and len(node.children) == 1:
        return {"vr": vr, "BulkDataURI": _bulk_data_uri(node.children[0])}
    kind = {"SQ": "Item", "PN": "PersonName"}.get(vr, "Value")
    for child in node.children:
        if child.name != kind:
            raise _out_of_place(child, node)
    values = [_read_value(vr, child) for child in _in_order(node.children)]
    return {"vr": vr, "Value": values} if any(value is not None for value in values) else {"vr": vr}


def _usual_vr(tag: int) -> str:
    """``vr`` is optional; of several that PS3.6 allows, the first."""
    return dictionary_VR(tag)[:2] if dictionary_has_tag(tag) else "UN"


def _bulk_data_uri(node: Node) -> str:
    uuid = node.attributes.get("uuid")
    return f"{_UUID_URN}{uuid}" if uuid else node.attributes.get("uri", "")


def _in_order(nodes: list[Node]) -> Iterable[Node]:
    """By ``number``, which counts from 1; in the order of the document where no number is given."""
    numbers = [node.attributes.get("number", "") for node in nodes]
    if not any(numbers):
        return nodes
    if sorted(numbers) != sorted(str(number) for number in range(1, len(nodes) + 1)):
        raise NotDicom(
            "Values, items or names of one element are not numbered 1, 2, 3 and so on (PS3.19 A.1.5)."
        )
    return [node for _, node in sorted(zip(map(int, numbers), nodes, strict=True), key=lambda pair: pair[0])]


def _read_value(vr: str, node: Node) -> Any:
    if vr == "SQ":
        return _read_data_set(node)
    if vr == "PN":
        return _read_name(node)
    if node.children:
        raise _out_of_place(node.children[0], node)
    return _number(vr, node.text) if vr in _NUMBER_VRS else node.text or None


def _read_name(node: Node) -> Json | None:
    groups = {}
    for group in node.children:
        if group.name not in _NAME_GROUPS or group.name in groups:
            raise _out_of_place(group, node)
        groups[group.name] = _read_components(group)
    return {name: groups[name] for name in _NAME_GROUPS if groups.get(name)} or None


def _read_components(group: Node) -> str:
    components = dict.fromkeys(_NAME_COMPONENTS, "")
    for component in group.children:
        if component.name not in components or component.children:
            raise _out_of_place(component, group)
        if "=" in component.text or ("^" in component.text and component.name != _NAME_COMPONENTS[-1]):
            raise NotDicom(f"{component.name} has = or ^, which would make another name of it (PS3.5 6.2.1).")
        components[component.name] = component.text
    return "^".join(components.values()).rstrip("^")


def _number(vr: str, found: str) -> Any:
    """A JSON number where it is written as one would be, so that 1.50 stays; else the text (F.2.3, note)."""
    text = found.strip()
    if _INTEGER.fullmatch(text) and str(int(text)) == text:
        return int(text)
    if vr not in _INTEGER_VRS and _DECIMAL.fullmatch(text):
        number = float(text)
        if math.isfinite(number) and (vr in _FLOAT_VRS or repr(number) == text):
            return number
    return found or None


def _out_of_place(node: Node, parent: Node) -> NotDicom:
    return NotDicom(f"{_shown(node.name)} has no place in {_shown(parent.name)} there (PS3.19 A.1.6).")


def _shown(found: str) -> str:
    """What an answer may repeat: short, and nothing that is no name."""
    return repr(found[:40]) if found[:40].isascii() and found[:40].isalnum() else "something else"

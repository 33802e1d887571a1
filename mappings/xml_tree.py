"""XML of a stranger as a tree of small nodes: no document type, no entities, bounded in size, number and depth."""

from dataclasses import dataclass, field
from xml.parsers import expat


class NotXml(Exception):
    """Why, in words for the sender."""


@dataclass(slots=True)
class Node:
    """An element. Its name is without its namespace, those of its attributes are with it: ``URI name``.

    ``pieces`` are the characters before its first child, ``tail`` those after the element.
    """

    name: str
    attributes: dict[str, str]
    namespace: str = ""
    children: list["Node"] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The characters that stand in the element itself."""
        return "".join(self.pieces) + "".join("".join(child.tail) for child in self.children)


def parse_xml(content: bytes, max_bytes: int, max_elements: int, max_depth: int) -> Node:
    """The document's element. Raises NotXml."""
    if len(content) > max_bytes:
        raise NotXml(f"The XML has more than {max_bytes} bytes.")
    tree = _Tree(max_elements, max_depth)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = tree.start, tree.end
    parser.CharacterDataHandler = tree.characters
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = tree.refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise NotXml(f"The XML is not well-formed, in line {error.lineno}.") from error
    except (LookupError, ValueError) as error:
        raise NotXml("The XML is in an encoding that cannot be read.") from error
    return tree.top.children[0]


class _Tree:
    """Handlers of the parser. ``top`` stands above the document's element."""

    def __init__(self, max_elements: int, max_depth: int) -> None:
        self.top = Node("", {})
        self._open = [self.top]
        self._count, self._max_elements, self._max_depth = 0, max_elements, max_depth

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > self._max_elements:
            raise NotXml(f"The XML has more than {self._max_elements} elements.")
        if len(self._open) > self._max_depth:
            raise NotXml(f"The XML is nested deeper than {self._max_depth} elements.")
        namespace, _, local_name = name.rpartition(" ")
        node = Node(local_name, attributes, namespace)
        self._open[-1].children.append(node)
        self._open.append(node)

    def end(self, _name: str) -> None:
        self._open.pop()

    def characters(self, found: str) -> None:
        node = self._open[-1]
        (node.children[-1].tail if node.children else node.pieces).append(found)

    def refuse(self, *_declared: object) -> None:
        raise NotXml("The XML has a document type or entities, which are not taken.")

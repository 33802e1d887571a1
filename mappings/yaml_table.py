"""Reading the tables that people review: YAML in which every scalar is text and every fault has its line."""

from collections.abc import Collection
from dataclasses import dataclass

import yaml

Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a section: words, or lists of words, by column."""

    values: dict[str, Value]
    file: str
    line: int

    def word(self, column: str) -> str:
        value = self.values.get(column, "")
        if not isinstance(value, str):
            raise self.fault(f"'{column}' is one word or sentence, not a list")
        return value

    def words(self, column: str) -> tuple[str, ...]:
        value = self.values.get(column, ())
        if isinstance(value, str):
            raise self.fault(f"'{column}' is a list: [{value}]")
        return value

    def fault(self, text: str) -> ValueError:
        return ValueError(f"{self.file}, line {self.line}: {text}")


class YamlTable:
    """The sections of one file. Raises ValueError naming the file and the line of the first fault."""

    def __init__(self, content: str, file: str, sections: Collection[str]) -> None:
        self._file = file
        try:
            root = yaml.compose(content, Loader=yaml.CSafeLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ValueError(f"{file}, line {line}: {error.problem}") from error
        self._sections = self._columns(root)
        self._require(root, set(self._sections), set(sections), set())

    def rows(self, section: str, columns: set[str], optional: Collection[str] = ()) -> list[Row]:
        """The rows of a section; each has all ``columns`` filled, perhaps ``optional`` ones, and no others."""
        node = self._sections[section]
        if not isinstance(node, yaml.SequenceNode):
            raise self._fault(node, f"'{section}' is a list of rows")
        return [self._row(item, columns, set(optional)) for item in node.value]

    def words(self, section: str, allowed: Collection[str]) -> tuple[str, ...]:
        """A section that is a list of words out of ``allowed``."""
        found = self._value(self._sections[section])
        unknown = [found] if isinstance(found, str) else [word for word in found if word not in allowed]
        if unknown:
            raise self._fault(
                self._sections[section], f"{unknown[0]} is none of {', '.join(sorted(allowed))}"
            )
        return tuple(found)

    def _row(self, node: yaml.Node, columns: set[str], optional: set[str]) -> Row:
        values = {name: self._value(value) for name, value in self._columns(node).items()}
        self._require(node, {name for name, value in values.items() if value}, columns, optional)
        return Row(values, self._file, node.start_mark.line + 1)

    def _require(self, node: yaml.Node | None, found: set[str], wanted: set[str], optional: set[str]) -> None:
        if missing := sorted(wanted - found):
            raise self._fault(node, f"'{missing[0]}' is missing")
        if unknown := sorted(found - wanted - optional):
            raise self._fault(node, f"'{unknown[0]}' is not a name that is used here")

    def _columns(self, node: yaml.Node | None) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self._fault(node, "names with their values are expected here")
        columns: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.value in columns:
                raise self._fault(key, f"'{key.value}' stands here twice")
            columns[key.value] = value
        return columns

    def _value(self, node: yaml.Node) -> Value:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value).strip()
        if isinstance(node, yaml.SequenceNode):
            words = [self._value(item) for item in node.value]
            return tuple(word for word in words if isinstance(word, str) and word)
        raise self._fault(node, "a word or a list of words is expected here")

    def _fault(self, node: yaml.Node | None, text: str) -> ValueError:
        line = node.start_mark.line + 1 if node is not None else 1
        return ValueError(f"{self._file}, line {line}: {text}")

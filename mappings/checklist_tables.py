"""The checklists that clinicians review (mappings/checklists/*.yaml), read and validated when the gateway starts."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from gateway.case.checklist import (
    DOCUMENT,
    SECTION,
    STUDY,
    Checklist,
    Clue,
    Item,
    Need,
    When,
    words_of,
)
from gateway.case.model import ItemKind

_Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Id = Annotated[str, StringConstraints(pattern="^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
_Modality = Annotated[str, StringConstraints(pattern="^[A-Z][A-Z0-9_]{1,15}$")]
EVERY_QUESTION = "every question"
_ASK = "Please send it, or say that it was not done or is not to be had."


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _When(_Row):
    specialties: list[_Word] = []
    icd10: list[Annotated[str, StringConstraints(pattern=r"^[A-Z]\d{0,2}(\.\d*)?$")]] = []
    words: list[_Word] = []

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if not (self.specialties or self.icd10 or self.words):
            raise ValueError("one of specialties, icd10 and words is needed")
        words_of(self.words)
        return self

    def of_rules(self) -> When:
        return When(
            specialties=frozenset(self.specialties), icd10=tuple(self.icd10), words=words_of(self.words)
        )


class _Clue(_Row):
    in_: list[Literal["document", "study", "section"] | ItemKind] = Field(alias="in", min_length=1)
    codes: list[_Word] = []
    words: list[_Word] = []
    modalities: list[_Modality] = []
    regions: list[_Word] = []

    @model_validator(mode="after")
    def _fits_its_place(self) -> Self:
        if STUDY in self.in_ and (len(self.in_) > 1 or not self.modalities or self.codes or self.words):
            raise ValueError("a study is recognised by modalities, perhaps regions, in a clue of its own")
        if STUDY not in self.in_ and (self.modalities or self.regions):
            raise ValueError("modalities and regions are for studies")
        if {DOCUMENT, SECTION} & set(self.in_) and not (self.codes or self.words):
            raise ValueError("a document or section is recognised by codes or words")
        words_of([*self.words, *self.regions])
        return self

    def of_rules(self) -> Clue:
        return Clue(
            frozenset(self.in_),
            frozenset(self.codes),
            words_of(self.words),
            frozenset(self.modalities),
            words_of(self.regions),
        )


class _Item(_Row):
    id: _Id
    item: _Word
    need: Need
    basis: Literal["published", "own choice"]
    source: _Word | None = None
    reviewed_by: _Word
    within_days: int | None = Field(None, ge=1, le=36_500)
    only_if: _When | None = None
    ask: _Word = _ASK
    found_as: list[_Clue] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_its_source(self) -> Self:
        if (self.basis == "published") != (self.source is not None):
            raise ValueError("what is published names its source, and the programme's own choice has none")
        return self

    def of_rules(self) -> Item:
        return Item(
            self.id,
            self.item,
            self.need,
            self.only_if.of_rules() if self.only_if else When(always=True),
            tuple(clue.of_rules() for clue in self.found_as),
            self.ask,
            self.source or "",
            self.within_days,
        )


class _List(_Row):
    checklist: _Word
    applies_to: _When | None
    items: list[_Item] = Field(min_length=1)

    @field_validator("applies_to", mode="before")
    @classmethod
    def _every_question(cls, value: Any) -> Any:
        if value is None or (isinstance(value, str) and value != EVERY_QUESTION):
            raise ValueError(f"'{EVERY_QUESTION}', or specialties, icd10 and words")
        return None if value == EVERY_QUESTION else value

    def of_rules(self) -> Checklist:
        when = self.applies_to.of_rules() if self.applies_to else When(always=True)
        return Checklist(self.checklist, when, tuple(item.of_rules() for item in self.items))


def read_checklist(content: str, file: str) -> Checklist:
    """Raises ValueError naming ``file``, the line and the reason of the first fault."""
    try:
        root = yaml.compose(content, Loader=yaml.CSafeLoader)
        found = yaml.load(content, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{file}, line {line}: {error.problem}") from error
    if root is None:
        raise ValueError(f"{file}, line 1: there is nothing in it")
    _refuse_twice(root, file)
    try:
        read = _List.model_validate(found)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        line = _line_of(root, fault["loc"])
        raise ValueError(f"{file}, line {line}: {where}: {fault['msg']}") from error
    return read.of_rules()


def _refuse_twice(node: yaml.Node, file: str) -> None:
    """YAML takes the last of two names that are the same, and the first would be lost."""
    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _refuse_twice(part, file)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for name, value in node.value:
            if name.value in seen:
                raise ValueError(f"{file}, line {name.start_mark.line + 1}: '{name.value}' stands here twice")
            seen.add(name.value)
            _refuse_twice(value, file)


def _line_of(node: yaml.Node, path: tuple[Any, ...]) -> int:
    """The line of what pydantic names, or of the innermost part that is there."""
    for part in path:
        inner = _part(node, part)
        if inner is not None:
            node = inner
    return int(node.start_mark.line) + 1


def _part(node: yaml.Node, part: Any) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]  # type: ignore[no-any-return] # PyYAML's stubs leave the value of a node untyped
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == part), None)
    return None


def read_checklists(folder: Path) -> tuple[Checklist, ...]:
    """Those of a folder by file name. Raises ValueError; an item's id stands once in all of them."""
    found: list[Checklist] = []
    files: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml")):
        file = f"{folder.parent.name}/{folder.name}/{path.name}"
        content = path.read_text(encoding="utf-8")
        checklist = read_checklist(content, file)
        for item in checklist.items:
            if item.id in files:
                line = 1 + content[: content.rindex(f"id: {item.id}\n")].count("\n")
                raise ValueError(f"{file}, line {line}: '{item.id}' stands in {files[item.id]} already")
            files[item.id] = file
        found.append(checklist)
    if not found:
        raise ValueError(f"{folder.name}: there is no checklist")
    return tuple(found)


CHECKLISTS = read_checklists(Path(__file__).with_name("checklists"))

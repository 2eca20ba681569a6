"""Read YAML that a person wrote, with the line of every value, so that a mistake can be reported by its line.

Only plain values are allowed: no aliases, no tags that build objects, no deep nesting. So a file can neither run code
nor fill the memory. A key is the text as written, and occurs once in its mapping.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from .transcripts import clean_text

Place = tuple[int | str, ...]
"""The path to a value: keys of mappings, and indexes of lists from 0."""

_MAX_FILE_CHARS = 1_000_000
_MAX_DEPTH = 16  # a rule needs four levels; PyYAML's time grows with the square of the depth, or worse
_MAX_SCALAR_CHARS = 100  # longer values are read as texts: a number of a million digits costs minutes
_STANDARD_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = {_STANDARD_TAG + name for name in ("str", "value", "merge")}  # `=` and `<<` are texts like any other
_PLAIN_TAGS = {_STANDARD_TAG + name for name in ("int", "float", "bool", "null", "timestamp")}


class BadYaml(ValueError):
    """A text is not YAML, or contains more than is allowed. The message names the line where it is known."""


@dataclass(frozen=True, slots=True)
class Located:
    """The values of a text as dicts, lists and plain values; and the line, from 1, of each key and each item."""

    value: Any
    lines: Mapping[Place, int]

    def find_line(self, place: Place) -> int:
        """Return the line of a value. For a missing value, return the line of the nearest one that contains it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_yaml(text: str) -> Located:
    """Read one YAML document. Raises `BadYaml`."""
    if len(text) > _MAX_FILE_CHARS:
        raise BadYaml(f"the file is larger than {_MAX_FILE_CHARS:,} characters")
    try:
        _check_shape(text)
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise BadYaml(f"line {line}: not YAML: a character that it does not allow") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        hint = "; write patterns in single quotes" if "escape character" in (error.problem or "") else ""
        raise BadYaml(f"{where}not YAML: {error.problem or 'it cannot be read'}{hint}") from None
    except (ValueError, AttributeError):  # PyYAML's scanner raises these for some broken texts
        raise BadYaml("not YAML: it cannot be read") from None
    lines: dict[Place, int] = {}
    return Located(_value_of(node, (), lines) if node is not None else None, lines)


def _check_shape(text: str) -> None:
    """Refuse what would cost memory or time, before any value is built."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        where = f"line {event.start_mark.line + 1}: " if event.start_mark else ""
        if isinstance(event, yaml.AliasEvent):
            raise BadYaml(f"{where}YAML aliases (*name) are not allowed: a few lines of them can fill the memory")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise BadYaml(f"{where}lists and mappings are nested more than {_MAX_DEPTH} deep")


def _value_of(node: yaml.Node, place: Place, lines: dict[Place, int]) -> Any:
    line = _line(node)
    lines.setdefault(place, line)
    if isinstance(node, yaml.MappingNode) and node.tag == _STANDARD_TAG + "map":
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise BadYaml(f"line {_line(key_node)}: a key must be a text")
            key = _clean_scalar(key_node)
            if key in values:
                first = lines[*place, key]
                raise BadYaml(f"line {_line(key_node)}: the key {key[:40]!r} occurs twice, first in line {first}")
            lines[*place, key] = _line(key_node)
            values[key] = _value_of(value_node, (*place, key), lines)
        return values
    if isinstance(node, yaml.SequenceNode) and node.tag == _STANDARD_TAG + "seq":
        return [_value_of(item, (*place, index), lines) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.tag in _TEXT_TAGS | _PLAIN_TAGS:
        if node.tag in _TEXT_TAGS or len(node.value) > _MAX_SCALAR_CHARS:
            return _clean_scalar(node)
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError, AttributeError):
            raise BadYaml(
                f"line {line}: this is not a {node.tag.removeprefix(_STANDARD_TAG)}; write texts in quotes"
            ) from None
    raise BadYaml(f"line {line}: the tag {node.tag.removeprefix(_STANDARD_TAG)[:40]!r} is not allowed here")


def _clean_scalar(node: yaml.ScalarNode) -> str:
    if node.value != clean_text(node.value):
        raise BadYaml(f"line {_line(node)}: a text contains half a character (a lone surrogate)")
    return str(node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1

"""Read the files of `deploy/` as the programs do that they are for: Dockerfile, compose, systemd."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
_INSTRUCTIONS = {
    *("FROM", "COPY", "RUN", "WORKDIR", "ENV", "VOLUME", "USER", "EXPOSE", "HEALTHCHECK", "CMD"),
}


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile; `stage` counts its FROM lines from 0."""

    name: str
    value: str
    stage: int

    @property
    def words(self) -> list[str]:
        """The value as words, in the JSON form and in the plain form."""
        text = self.value[self.value.index("[") :] if "[" in self.value else ""
        if text:
            words: list[str] = json.loads(text)
            return words
        return shlex.split(self.value)


def dockerfile() -> list[Instruction]:
    """Return the instructions. Raises ValueError for one that this reader does not know."""
    text = (DEPLOY / "compose/Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    found, stage = [], -1
    for line in filter(None, map(str.strip, lines.replace("\\\n", " ").splitlines())):
        name, _, value = line.partition(" ")
        if name not in _INSTRUCTIONS:
            raise ValueError(f"unknown instruction: {line}")
        stage += name == "FROM"
        found.append(Instruction(name, value.strip(), stage))
    return found


def compose_services() -> dict[str, dict[str, Any]]:
    """Return the services of compose.yaml; anchors and merges are resolved by the parser."""
    services: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())["services"]
    return services


class _MergedCompose(yaml.SafeLoader):
    """Knows the tag by which a compose file takes back what the file below it says."""


_MergedCompose.add_constructor("!reset", lambda *_: None)


def login_compose() -> dict[str, dict[str, Any]]:
    """Return login/compose.yaml, which comes on top of compose.yaml; what is taken back is None."""
    file: dict[str, dict[str, Any]] = yaml.load((DEPLOY / "login/compose.yaml").read_text(), _MergedCompose)
    return file


def login_services() -> dict[str, dict[str, Any]]:
    """Return the services of login/compose.yaml."""
    return login_compose()["services"]


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Return the sections of a systemd unit; a key may be there several times."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in path.read_text().splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(match[1], {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return sections


def environment_names(value: Any) -> Iterator[str]:
    """Yield the NAME of each `{env: NAME}` in a parsed YAML file."""
    if isinstance(value, dict):
        if value.keys() == {"env"}:
            yield value["env"]
        for part in value.values():
            yield from environment_names(part)
    elif isinstance(value, list):
        for part in value:
            yield from environment_names(part)

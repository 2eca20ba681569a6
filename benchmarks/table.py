"""Format the rows of the benchmarks as a table for the terminal and for `results.md`."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.alternatives.rclone import find_rclone
from benchmarks.contest import Rounds

_HEADINGS = ("case", "contestant", "result", "ours ÷ theirs", "target", "reached", "CPU", "peak RSS", "requests", "how")
_LIBRARIES = (
    "dagster", "requests", "urllib3", "boto3", "pyreqwest", "obstore", "pyarrow", "numpy", "pandas", "duckdb",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One contestant in one case. `reached` is None if the row has no target; `how` is `measured` or `computed`."""

    case: str
    contestant: str
    result: str
    ratio: float | None = None
    target: str = ""
    reached: bool | None = None
    cpu: str = ""
    peak_bytes: float | None = None
    requests: str = ""
    how: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return the row as text, in the order of the headings."""
        return (
            self.case,
            self.contestant,
            self.result,
            "" if self.ratio is None else f"{self.ratio:.2f}",
            self.target,
            "" if self.reached is None else "yes" if self.reached else "**no**",
            self.cpu,
            "" if self.peak_bytes is None else f"{self.peak_bytes / 1e6:,.0f} MB",
            self.requests,
            self.how,
        )


@dataclass(frozen=True)
class Section:
    """The rows of one topic, with notes that explain them."""

    title: str
    notes: str
    rows: Sequence[Row]


def spread(values: Sequence[float], unit: str, digits: int = 0) -> str:
    """Format values as `median unit (least to most)`."""
    middle, least, most = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} {unit}" + (f" ({least} to {most})" if len(values) > 1 else "")


def cpu_each(rounds: Rounds) -> str:
    """Format the CPU time of the contestant's process and its children for each unit."""
    return f"{rounds.cpu_seconds() / rounds.measures[0].facts['units'] * 1000:.1f} ms each"


def as_text(section: Section) -> str:
    """Format a section for a terminal."""
    lines = [_HEADINGS, *(row.cells() for row in section.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([section.title, *body, ""])


def as_markdown(title: str, notes: str, sections: Sequence[Section], command: str, began: datetime) -> str:
    """Format a part of `results.md`: the sections that one command has measured."""
    parts = [
        f"# {title}",
        f"Written by `{command}`, {began:%Y-%m-%d %H:%M} UTC, in "
        f"{(datetime.now(UTC) - began).total_seconds() / 60:.0f} minutes, at commit {_commit()}.",
        _machine(),
        notes,
    ]
    for section in sections:
        parts += [f"## {section.title}", section.notes, _markdown_table(section.rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def replace_part(page: str, part: str) -> str:
    """Replace the part of a page that has the same title, or add it at the end; other commands' parts stay."""
    title = part.partition("\n")[0]
    parts = [one.rstrip() + "\n" for one in re.split(r"(?m)^(?=# )", page) if one.strip()]
    titles = [one.partition("\n")[0] for one in parts]
    if title in titles:
        parts[titles.index(title)] = part
    else:
        parts.append(part)
    return "\n".join(parts)


def _markdown_table(rows: Sequence[Row]) -> str:
    used = [number for number in range(len(_HEADINGS)) if number < 3 or any(row.cells()[number] for row in rows)]
    lines = [[_HEADINGS[number] for number in used], ["---"] * len(used)]
    lines += [[row.cells()[number] for number in used] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine() -> str:
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"Machine: {os.cpu_count()} cores ({cpu}), {memory:.0f} GB, {platform.system()} {platform.release()}; load "
        f"average at the end {load}. Python {platform.python_version()}, {libraries}; {_rclone()}."
    )


def _rclone() -> str:
    program = find_rclone()
    if program is None:
        return "rclone is not installed"
    try:
        return subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError):
        return "rclone does not start"


def _commit() -> str:
    described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return described.stdout.strip() or "(unknown)"

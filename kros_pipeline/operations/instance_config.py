"""Render the file dagster.yaml of one machine from the parts that its deployment names.

Dagster reads plain integers there, and no `{env: NAME}` in their place, so that what follows from a setting has to be
written into the file: `KROS_PARALLEL_DAYS` decides how many runs are in progress at once.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from ..core.settings import BadSettings

RUNS_BESIDE_DAYS = 2
"""Runs that use no slot of the pool, such as the hourly look, or wait for one: they must not wait for a day's end."""

_HEADER = "# Rendered by `python -m kros_pipeline` from {}. Change those, and render again.\n"


def render_instance_config(parts: Mapping[str, str], parallel_days: int) -> str:
    """Merge YAML texts in their order, and set `max_concurrent_runs` to N + 2 for N days in parallel.

    For more than one day, the pool counts runs and not steps: a step that waits may get a slot while another step of
    its run works, so that one day holds two slots, and a lost run keeps both until it is found.

    `parts` are texts by the name of their file. A mapping is merged key by key; any other value replaces the one of the
    part before it. Raises `BadSettings` with a sentence for each part that is no YAML mapping.
    """
    merged: dict[str, Any] = {}
    problems = []
    for name, text in parts.items():
        try:
            part = yaml.safe_load(text)
        except yaml.YAMLError as error:
            problems.append(f"{name} is no YAML: {' '.join(str(error).split())}.")
            continue
        if not isinstance(part, dict):
            problems.append(f"{name} must be a YAML mapping, like dagster.yaml.")
            continue
        merged = _merge(merged, part)
    if problems:
        raise BadSettings(problems)
    concurrency: dict[str, Any] = {"runs": {"max_concurrent_runs": parallel_days + RUNS_BESIDE_DAYS}}
    if parallel_days > 1:
        concurrency["pools"] = {"granularity": "run"}
    merged = _merge(merged, {"concurrency": concurrency})
    return _HEADER.format(", ".join(parts)) + yaml.safe_dump(merged, sort_keys=False)


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        merged[key] = _merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged

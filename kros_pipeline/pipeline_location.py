"""The code location of the pipeline where operators' jobs have a location of their own: days, looks, schedules."""

import dagster as dg

from .definitions import pipeline_definitions


@dg.definitions
def location() -> dg.Definitions:
    """Make the definitions of this location."""
    return pipeline_definitions()

"""The code location of the jobs that delete in the archive or change the account, for a code server with that role."""

import dagster as dg

from .definitions import operator_definitions


@dg.definitions
def location() -> dg.Definitions:
    """Make the definitions of this location."""
    return operator_definitions()

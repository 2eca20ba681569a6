"""The work of one asset each. No Dagster here: a step takes a `RunContext` and a day, and returns what it did."""

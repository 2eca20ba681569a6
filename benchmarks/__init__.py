"""Measure what the pipeline costs beside alternatives: `make bench`, `make bench-quick`."""

"""Measure how the pipeline grows: days of up to a million calls, archives of years, and more workers."""

"""Archives every completed KrosAI call, every day, for good. The map of the package is `definitions.py`."""

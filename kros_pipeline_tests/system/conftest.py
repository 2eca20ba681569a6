"""Fixtures of the tests of the sandbox; `support.sandbox_client` implements them."""

from kros_pipeline_tests.support.sandbox_client import plain, running_sandbox, sandbox, url, varied

__all__ = ["plain", "running_sandbox", "sandbox", "url", "varied"]

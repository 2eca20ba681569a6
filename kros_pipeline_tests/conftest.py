"""The fixtures that every test may ask for; what they do is in `support`."""

from kros_pipeline_tests.support.accounts import (
    account,
    aws,
    memory_account,
    no_waiting,
    s3,
    s3_client,
    simulators,
    workspace,
)

__all__ = ["account", "aws", "memory_account", "no_waiting", "s3", "s3_client", "simulators", "workspace"]

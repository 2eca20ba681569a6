"""The fixtures that every test may ask for; what they do is in `support`."""

from hypothesis import settings

from kros_pipeline_tests.support.accounts import (
    account,
    aws,
    memory_account,
    run_context,
    s3,
    s3_account,
    s3_client,
    seaweedfs,
    simulators,
)

__all__ = [
    "account",
    "aws",
    "memory_account",
    "run_context",
    "s3",
    "s3_account",
    "s3_client",
    "seaweedfs",
    "simulators",
]

settings.register_profile("no deadline", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("no deadline")

"""The embedded default of the outside world: a KrosAI simulator and a local S3. Everything runs without an account.

    with Sandbox(SandboxConfig(seed=7, days=("2025-01-10",), calls_per_day=40)) as sandbox:
        subprocess.run(command, env=os.environ | sandbox.environment)
        sandbox.krosai.expected_calls("2025-01-10")      # the truth
        sandbox.krosai.set_faults(Faults(storage_truncated=Fault(attempts=1)))
        sandbox.s3.client().list_objects_v2(Bucket=sandbox.s3.bucket)

Nothing here knows the pipeline, and nothing of the pipeline knows this; it keeps to what KrosAI documents.
"""

from kros_pipeline.sandbox.config import SandboxConfig
from kros_pipeline.sandbox.faults import Fault, Faults
from kros_pipeline.sandbox.local_s3 import LocalS3
from kros_pipeline.sandbox.sandbox import Sandbox
from kros_pipeline.sandbox.simulator import KrosaiSimulator

__all__ = ["Fault", "Faults", "KrosaiSimulator", "LocalS3", "Sandbox", "SandboxConfig"]

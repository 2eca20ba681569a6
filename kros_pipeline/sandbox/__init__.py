"""The sandbox: a KrosAI simulator and a local S3, so that everything runs without an account.

    with Sandbox(SandboxConfig(seed=7, days=("2025-01-10",), calls_per_day=40)) as sandbox:
        subprocess.run(command, env=os.environ | sandbox.environment)
        sandbox.krosai.expected_calls("2025-01-10")      # what is true
        sandbox.krosai.set_faults(Faults(storage_truncated=Fault(attempts=1)))
        sandbox.s3.client().list_objects_v2(Bucket=sandbox.s3.bucket)

It imports nothing of the pipeline, and the pipeline does not import it. It behaves as KrosAI documents.
"""

from .config import SandboxConfig
from .faults import Fault, Faults
from .local_s3 import LocalS3
from .sandbox import Sandbox
from .simulator import KrosaiSimulator

__all__ = ["Fault", "Faults", "KrosaiSimulator", "LocalS3", "Sandbox", "SandboxConfig"]

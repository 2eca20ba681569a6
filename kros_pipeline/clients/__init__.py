"""What talks to the outside: KrosAI, its recording storage, and the archive in S3."""

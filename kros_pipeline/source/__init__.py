"""The source: KrosAI, its API and its recording storage, behind a Protocol."""

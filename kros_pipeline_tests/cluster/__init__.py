"""Many processes, as on many machines: PostgreSQL, Redis, Celery workers. `make test-cluster` runs them."""

"""The reviewer's page over the archive: days, search, a call beside its recording, reviews. It never asks KrosAI."""

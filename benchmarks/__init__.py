"""What this pipeline costs, side by side with the alternatives: `make bench`, `make bench-quick`."""

"""What only an operator, or a schedule of its own, launches."""

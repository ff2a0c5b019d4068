"""What `scripts/bench` measures, one module per benchmark, and how."""

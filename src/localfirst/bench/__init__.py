"""What a benchmark is, and what its numbers say: values, statistics, comparison. Pure: measures and stores nothing."""

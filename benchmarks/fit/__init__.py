"""Models of made-up weights, and how much memory an engine takes for one, measured in a process of its own."""

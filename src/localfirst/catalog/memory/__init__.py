"""How much memory each engine takes for a model: one file per engine, each with what it was measured against."""

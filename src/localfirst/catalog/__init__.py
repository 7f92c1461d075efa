"""Pure knowledge of models: the catalog, names, memory, speed, and the choice. Values in, values out; no I/O."""

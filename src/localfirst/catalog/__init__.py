"""Pure knowledge of models: the catalog, names, memory, speed, and the choice. Text and values in, values out; no I/O."""

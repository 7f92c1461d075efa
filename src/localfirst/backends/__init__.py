"""One adapter per native engine, behind one protocol. Runs inside the worker; an engine is imported inside `load`."""

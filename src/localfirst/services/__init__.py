"""One file per request: wires the parts, returns values, prints nothing."""

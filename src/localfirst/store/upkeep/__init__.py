"""What the store holds and takes: surveys, garbage, moving it elsewhere."""

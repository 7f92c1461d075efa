"""The process that holds one loaded model: the frames it speaks, the child, and the parent's side of it."""

"""Several loaded models at once, and who is answered by which, when."""

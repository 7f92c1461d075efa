"""Read what files say of themselves in place, strictly and in bounded memory, before a native library ever sees it."""

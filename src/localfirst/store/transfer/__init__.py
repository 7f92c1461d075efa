"""The bytes of files: fetched in parts, written, hashed, copied."""

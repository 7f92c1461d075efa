"""Model files on disk, each with a verified digest: listings, bytes, manifests, locks."""

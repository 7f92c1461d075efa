"""The starter model: data files of a tiny model that is built into `lf` (see README.md here)."""

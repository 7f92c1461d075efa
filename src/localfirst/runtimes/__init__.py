"""The engine builds that exist, and how each is found, installed, checked and removed."""

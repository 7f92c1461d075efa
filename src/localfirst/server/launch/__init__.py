"""Other people's programs, told to ask the server: what they read, changed with care, and started."""

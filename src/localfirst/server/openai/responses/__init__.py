"""`/v1/responses`: OpenAI's newer dialect, in which a server remembers what was said."""

"""Anthropic's dialect: `/v1/messages`, and `/v1/models` for its clients."""

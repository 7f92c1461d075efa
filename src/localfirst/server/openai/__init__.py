"""OpenAI's dialect. Source of every form: openai/openai-openapi, `openapi.yaml`."""

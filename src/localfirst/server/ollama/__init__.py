"""Ollama's dialect: `/api/...`, for what speaks to Ollama and to nothing else."""

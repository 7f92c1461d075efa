"""Programs that serve OpenAI's dialect over HTTP: started here, or running elsewhere."""

"""One local endpoint for every runtime: HTTP in, `services.serving` asked, HTTP out. Prints nothing."""

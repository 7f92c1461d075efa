"""Other programs that run models on one's own machine: how each is found, started and asked."""

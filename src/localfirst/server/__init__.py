"""One local endpoint for every runtime: HTTP in, `services.serving` asked, HTTP out. Prints nothing."""

LOADED, RELAY, CANCEL = (f"/lf/v1/{name}" for name in ("loaded", "relay", "cancel"))
"""Where `lf run` asks what is loaded, and has itself answered."""
KEY = "LF_API_KEY"
"""The environment's name for the key that requests have to show."""
BACKGROUND = "LF_SERVER_BACKGROUND"
"""Set for a server that outlives the terminal it was started from: it says so of itself."""
OWN_PATHS = "/lf/"
"""Below it, who shows the server's own key manages it: the other commands of `lf`, which read it where only its owner
may. No page is answered there."""

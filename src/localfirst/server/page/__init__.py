"""The page at `/`: a chat in the browser, by this server alone. HTML, CSS and JavaScript as they are sent."""

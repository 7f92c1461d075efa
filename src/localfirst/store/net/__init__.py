"""The way to hubs: addresses, tokens, proxies, certificates, requests."""

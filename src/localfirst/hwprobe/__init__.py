"""Facts about this machine. No policy, no printing; the one name that others use is `probe.probe`."""

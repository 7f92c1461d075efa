"""Messages into a prompt, an answer into events.

Runs inside the worker, where a template that never ends can be killed.
"""

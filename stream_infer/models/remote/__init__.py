"""A model that a server runs: one file per protocol, and what is common to them in remote_runtime.py."""

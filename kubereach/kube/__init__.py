"""Talking to an API server: the client, and what is read of a cluster with it. It knows nothing of probes."""

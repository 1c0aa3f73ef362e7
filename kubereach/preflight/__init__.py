"""Preflight: whether a cluster lets us in, and our pods, asked before anything is created."""

"""Where the cluster comes from. A target hands out the way in; it knows nothing of checks."""

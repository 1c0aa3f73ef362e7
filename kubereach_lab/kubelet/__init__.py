"""What a node does for its pods: sandboxes, volumes, containers, probes, status, the end."""

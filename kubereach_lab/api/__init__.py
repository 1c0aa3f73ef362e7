"""The lab's REST API, as Kubernetes speaks it."""

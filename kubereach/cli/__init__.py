"""The command ``kubereach``. Each command imports only what it needs."""

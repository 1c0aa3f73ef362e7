"""kind (https://kind.sigs.k8s.io) as a target: a cluster in containers, on pytest-kind's `KindCluster`.

`cluster` and `target` are imported only when the target is kind: pytest-kind, the extra `kind`, brings another client
of Kubernetes with it, and options for every pytest beside it.
"""

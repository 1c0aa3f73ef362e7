"""kind (https://kind.sigs.k8s.io) as a target: a cluster in containers, on pytest-kind's `KindCluster`.

`options` apart, imported only when the target is kind: pytest-kind brings another client of Kubernetes with it.
"""

"""The columns of each kind's Table and how a row is filled, as pkg/printers/internalversion of Kubernetes does it."""

from kubereach_lab.kubectl.columns import cluster, services, workloads
from kubereach_lab.kubectl.columns.cells import Column, Printer

#: by resource
COLUMNS: dict[str, Printer] = {**workloads.COLUMNS, **services.COLUMNS, **cluster.COLUMNS}

__all__ = ["COLUMNS", "Column", "Printer"]

"""The embedded cluster: a Kubernetes of Linux network namespaces, up in about a second, gone without a trace."""

from kubereach.lab.config import LabConfig
from kubereach.lab.launch import Lab, LabError

__all__ = ["Lab", "LabConfig", "LabError"]

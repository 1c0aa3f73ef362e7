"""The embedded cluster: a Kubernetes of Linux network namespaces, up in about a second, gone without a trace."""

from kubereach_lab.config import LabConfig
from kubereach_lab.launch import Lab, LabError

__all__ = ["Lab", "LabConfig", "LabError"]

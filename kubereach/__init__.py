"""kubereach: does every way of reaching a Kubernetes Service work, from everywhere it should?"""

__version__ = "0.1.0"

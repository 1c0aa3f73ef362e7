"""``python -m kubereach`` is the command ``kubereach``."""

from __future__ import annotations

import sys

from kubereach.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

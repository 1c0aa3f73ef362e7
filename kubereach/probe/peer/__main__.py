"""Where ``python3 /kubereach`` starts."""

import os
import sys

# Python runs a folder's __main__ outside of any package. The modules beside it import one another as those of a package
# all the same (`from .series import Series`), because in the engine they are one, with its types, its tests and its
# import contracts. So this folder, whatever it is called where it is mounted, is made the package `peer` here.
package = type(sys)("peer")
package.__path__ = [os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120 - pathlib is slow to load
sys.modules["peer"] = package

from peer.main import main  # type: ignore[import-not-found]  # noqa: E402 - there is such a package from here on

main(sys.argv[1:])

"""nftables' rules, applied by its own library: a process for each change takes ten times as long.

Source: libnftables(3).
"""

from __future__ import annotations

import ctypes
import functools
import subprocess
import threading
from pathlib import Path
from typing import Any

#: the library keeps some of its knowledge for all threads
_lock = threading.Lock()
_of_thread = threading.local()


def refusal(rules: str) -> str:
    """Apply rules in the calling thread's network namespace, all of them or none; gives why not, "" if they are."""
    library = _library()
    if library is None:
        done = subprocess.run(["nft", "-f", "-"], input=rules, capture_output=True, text=True, check=False)
        return (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""
    with _lock:
        context = _context(library)
        failed = library.nft_run_cmd_from_buffer(context, rules.encode())
        # to be read each time: that empties it, warnings too
        message = bytes(library.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace").strip()
        return (message or "no reason given") if failed else ""


@functools.cache
def _library() -> Any:
    """None if this machine has the program alone."""
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError:
        return None
    context, text = ctypes.c_void_p, ctypes.c_char_p
    library.nft_ctx_new.restype, library.nft_ctx_new.argtypes = context, [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [context]
    library.nft_ctx_buffer_error.argtypes = library.nft_ctx_buffer_output.argtypes = [context]
    library.nft_run_cmd_from_buffer.argtypes = [context, text]
    library.nft_ctx_get_error_buffer.restype, library.nft_ctx_get_error_buffer.argtypes = text, [context]
    return library


def _context(library: Any) -> int:
    """The calling thread's; its socket belongs to the namespace that the thread was in when it was made."""
    namespace = Path("/proc/thread-self/ns/net").stat().st_ino
    if getattr(_of_thread, "namespace", None) != namespace:
        context = library.nft_ctx_new(0)
        if not context:
            raise MemoryError("libnftables gives no context")
        library.nft_ctx_buffer_error(context)
        library.nft_ctx_buffer_output(context)
        if hasattr(_of_thread, "context"):
            library.nft_ctx_free(_of_thread.context)
        _of_thread.context, _of_thread.namespace = context, namespace
    return int(_of_thread.context)

"""The bytes that transfers are made of."""

from __future__ import annotations

#: bytes after which the pattern of transfers begins again
_BLOCK = 65536
#: two blocks, so that a whole one can be cut out at any place
_blocks: list[memoryview] = []


def piece(begin: int, end: int) -> memoryview:
    """The pattern of transfers from byte `begin` to `end`, or a whole block of it if that is less.

    No two neighbouring parts of it are equal: what is lost or repeated changes the digest.
    """
    if not _blocks:
        _blocks.append(memoryview(2 * b"".join(b"%07d " % number for number in range(_BLOCK // 8))))
    at = begin % _BLOCK
    return _blocks[0][at : at + min(_BLOCK, end - begin)]


def pattern(size: int) -> bytes:
    """The first `size` bytes of the pattern of transfers."""
    return (bytes(piece(0, _BLOCK)) * (size // _BLOCK + 1))[:size]

"""SPDY/3.1 on the wire: frames to bytes and back, for the streams of port-forward.

Only the framing is here; what streams mean is in `spdy_session`. Source: SPDY Protocol draft 3
(draft-mbelshe-httpbis-spdy-00) and 3.1, as far as moby/spdystream, which every Kubernetes client uses, has them: no
SETTINGS of its own, no flow control. What a peer sends of these is read and has no effect.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import chain

_VERSION = 3
#: the last frame of its sender on this stream
FIN = 0x01
#: what we take as a whole; a DATA frame of Kubernetes' clients has at most 32 KiB
_LONGEST_FRAME = 16 * 1024 * 1024 - 1
_LONGEST_HEADERS = 64 * 1024


class Kind(IntEnum):
    """The types of control frames; DATA, which is none, is 0 here."""

    DATA = 0
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Reason(IntEnum):
    """Status codes of RST_STREAM."""

    PROTOCOL_ERROR = 1
    REFUSED_STREAM = 3
    CANCEL = 5


class SpdyError(ConnectionError):
    """What came is not SPDY/3.1; the connection cannot go on."""


@dataclass(frozen=True)
class Frame:
    """One frame. `number` is its stream's, a PING's own, or a GOAWAY's last good stream."""

    kind: Kind
    number: int = 0
    flags: int = 0
    data: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def fin(self) -> bool:
        return bool(self.flags & FIN)


def _dictionary() -> bytes:
    """The text that header blocks are compressed against (section 2.6.10.1)."""
    names = """
        options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age
        allow authorization cache-control connection content-base content-encoding content-language content-length
        content-location content-md5 content-range content-type date etag expect expires from host if-match
        if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma
        proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade
        user-agent vary via warning www-authenticate method get status
    """
    more = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
    codes = (
        "100 101 201 202 205 206 300 302 303 304 305 306 307 402 405 406 407 408 409 410 411 412 413 414 415 416 417 "
        "502 504 505"
    )
    rest = (
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
        "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
    )
    words = b"".join(_counted(word) for word in chain(names.split(), more))
    return words + (codes.replace(" ", "") + rest).encode("ascii")


def _counted(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">I", len(encoded)) + encoded


DICTIONARY = _dictionary()


class Encoder:
    """Makes frames. Header blocks share one compression context: send every frame made, in the order made."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """The bytes of a frame of a kind that Kubernetes' streams use. Raises `ValueError` for another."""
        number = struct.pack(">I", frame.number)
        if frame.kind is Kind.DATA:
            return number + _flags_and_length(frame.flags, frame.data) + frame.data
        if frame.kind is Kind.SYN_STREAM:
            body = number + bytes(6) + self._block(frame.headers)
        elif frame.kind in (Kind.SYN_REPLY, Kind.HEADERS):
            body = number + self._block(frame.headers)
        elif frame.kind in (Kind.RST_STREAM, Kind.GOAWAY):
            body = number + (frame.data or bytes(4))
        elif frame.kind is Kind.PING:
            body = number
        else:
            raise ValueError(f"no frame of kind {frame.kind.name} is ever sent")
        return struct.pack(">HH", 0x8000 | _VERSION, frame.kind) + _flags_and_length(frame.flags, body) + body

    def _block(self, headers: Mapping[str, str]) -> bytes:
        text = struct.pack(">I", len(headers))
        text += b"".join(_counted(name.lower()) + _counted(value) for name, value in headers.items())
        return self._zlib.compress(text) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


def _flags_and_length(flags: int, body: bytes) -> bytes:
    return struct.pack(">I", flags << 24 | len(body))


class Decoder:
    """Takes frames out of a stream of bytes."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes; frames of unknown types are left out. Raises `SpdyError`."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            length = second & 0xFFFFFF
            if length > _LONGEST_FRAME:
                raise SpdyError(f"a frame of {length} bytes")
            if len(self._buffer) < 8 + length:
                return
            body = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            if not first & 0x80000000:
                yield Frame(Kind.DATA, first, second >> 24, body)
                continue
            if first >> 16 & 0x7FFF != _VERSION:
                raise SpdyError(f"a frame of SPDY version {first >> 16 & 0x7FFF}")
            frame = self._control(first & 0xFFFF, second >> 24, body)
            if frame is not None:
                yield frame

    def _control(self, number: int, flags: int, body: bytes) -> Frame | None:
        try:
            kind = Kind(number)
        except ValueError:
            return None
        if kind is Kind.SETTINGS:
            return None
        if len(body) < 4:
            raise SpdyError(f"{kind.name} of {len(body)} bytes")
        stream = int(struct.unpack_from(">I", body)[0]) & 0x7FFFFFFF
        if kind is Kind.SYN_STREAM:
            return Frame(kind, stream, flags, headers=self._headers(body[10:]))
        if kind in (Kind.SYN_REPLY, Kind.HEADERS):
            return Frame(kind, stream, flags, headers=self._headers(body[4:]))
        return Frame(kind, stream, flags, body[4:])

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            text = self._zlib.decompress(block, _LONGEST_HEADERS)
            if self._zlib.unconsumed_tail:
                raise SpdyError("a block of headers that is too long")
            return _parse_headers(text)
        except (zlib.error, struct.error, UnicodeDecodeError) as error:
            raise SpdyError(f"a block of headers that cannot be read: {error}") from error


def _parse_headers(text: bytes) -> dict[str, str]:
    (count,) = struct.unpack_from(">I", text)
    offset, headers = 4, {}
    for _ in range(count):
        pair = []
        for _ in range(2):
            (length,) = struct.unpack_from(">I", text, offset)
            pair.append(text[offset + 4 : offset + 4 + length].decode())
            offset += 4 + length
        headers[pair[0]] = pair[1]
    return headers

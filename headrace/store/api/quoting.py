"""Text in errors, quoted as Go's ``%q`` quotes it, because clients and tests match on Prometheus' texts."""

from __future__ import annotations

_SHORT = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}


def go_quote(text: str) -> str:
    r"""Quote `text`; bytes that are not UTF-8 (surrogates, as by ``surrogateescape``) become ``\xff``."""
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(char: str) -> str:
    short = _SHORT.get(char)
    if short is not None:
        return short
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char == " " or (char.isprintable() and not char.isspace()):
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

"""Detect the format of a file by its first bytes, whatever its extension."""

import re

HEAD_BYTES = 2**16  # that detection needs

# Byte order mark, encoding.
_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_XML_ROOTS = {"restingecg": "MUSE", "restingecgdata": "Sierra", "annotatedecg": "aECG"}
# An XML root element, whose name may have a namespace prefix.
_ROOT = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)[\s/>]")
# Declarations, comments and the document type before the root. Each alternative extends to the end
# of the text if it is not closed; otherwise matching would take minutes on a hostile file.
_PROLOG = re.compile(
    r"<\?.*?(?:\?>|\Z)|<!--.*?(?:-->|\Z)|<!DOCTYPE[^\[>]*(?:>|\[.*?(?:\]\s*>|\Z)|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_KARDIA = re.compile(r'"(?:amplitudeResolution|algorithmDetermination|data12L)"')
_UNSUPPORTED = (
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xd0\xcf\x11\xe0", "a legacy Office document"),
)


def detect_encoding(head: bytes) -> str | None:
    """Return the encoding of a text file by its first bytes; None if they are not text."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        # UTF-16 without a mark: most characters of a table are ASCII, with one zero byte each.
        even, odd = head[0::2].count(0), head[1::2].count(0)
        if max(even, odd) * 4 < len(head) or min(even, odd) * 8 > max(even, odd):
            return None
        return "utf-16-le" if odd > even else "utf-16-be"
    if sum(byte < 32 and byte not in b"\t\n\r\f\v" for byte in head[:4096]) > 8:
        return None
    try:
        head[: head.rfind(b"\n") + 1 or None].decode()
    except UnicodeDecodeError as error:
        # The last character may be incomplete.
        if error.start < len(head) - 4 or error.reason != "unexpected end of data":
            return "cp1252"
    return "utf-8"


def detect_format(head: bytes) -> str:
    """Return the format of a file by its first HEAD_BYTES bytes.

    One of "DICOM", "ISHNE", "ATC", "SCP", "EDF", "MUSE", "Sierra", "aECG", "Kardia", "MAT", "text";
    otherwise a description for error messages, such as "a PDF".
    """
    if not head:
        return "an empty file"
    if head[128:132] == b"DICM" or _is_bare_dicom(head):
        return "DICOM"
    if head.startswith((b"ISHNE1.0", b"ANN  1.0")):
        return "ISHNE" if head.startswith(b"ISHNE") else "an ISHNE annotation file"
    if head.startswith(b"ALIVE\0\0\0"):
        return "ATC"
    if head.startswith(b"MATLAB 5.0"):
        return "MAT"
    if _is_scp(head):
        return "SCP"
    if head.startswith(b"0       ") and head[252:256].strip().isdigit():
        return "EDF"
    for mark, kind in _UNSUPPORTED:
        if head.startswith(mark):
            return kind
    encoding = detect_encoding(head)
    return "a binary file" if encoding is None else _detect_text(head.decode(encoding, "replace"))


def _detect_text(text: str) -> str:
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        root = _ROOT.search(_PROLOG.sub(" ", text))
        known = _XML_ROOTS.get(root[1].lower()) if root else None
        return known or ("an HTML page" if root and root[1].lower() == "html" else "an XML file")
    if text.startswith("{"):
        return "Kardia" if _KARDIA.search(text) else "a JSON file"
    # Even the shortest table has a number or a line of names.
    is_table = re.search(r"[\d\n,;]", text.strip()) or len(text) >= HEAD_BYTES
    return "text" if is_table else "an unknown kind of file"


def _is_bare_dicom(head: bytes) -> bool:
    """Return whether a DICOM data set begins without the preamble.

    Its first element is of group 2 or 8, little endian, with a known type or a small length.
    """
    if len(head) < 12 or head[:2] not in (b"\x02\0", b"\x08\0") or head[3] != 0:
        return False
    return head[4:6] in (b"UL", b"UI", b"OB", b"CS", b"SH", b"LO", b"DA") or (
        int.from_bytes(head[4:8], "little") <= 64
    )


def _is_scp(head: bytes) -> bool:
    """Return whether SCP-ECG's section 0 is in its place and begins with a pointer to itself."""
    if len(head) < 32:
        return False
    number, length = int.from_bytes(head[8:10], "little"), int.from_bytes(head[10:14], "little")
    if number != 0 or length < 26:
        return False
    pointer = int.from_bytes(head[22:24], "little"), int.from_bytes(head[28:32], "little")
    return head[16:22] == b"SCPECG" or pointer == (0, 7)

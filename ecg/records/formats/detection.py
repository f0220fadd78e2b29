"""The first bytes of a file -> what kind of file it is, whatever its name ends in."""

import re

HEAD = 2**16  # bytes of a file that are looked at

# A byte order mark, and the encoding that it stands for.
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_XML_ROOTS = {"restingecg": "MUSE", "restingecgdata": "Sierra", "annotatedecg": "aECG"}
# Declarations, comments and a document type may stand before the root; a prefix before its name.
_ROOT = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)[\s/>]")
# Each reaches to the end where nothing closes it: to look for that from every place takes minutes.
_NO_ROOT = re.compile(
    r"<\?.*?(?:\?>|\Z)|<!--.*?(?:-->|\Z)|<!DOCTYPE[^\[>]*(?:>|\[.*?(?:\]\s*>|\Z)|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_KARDIA = re.compile(r'"(?:amplitudeResolution|algorithmDetermination|data12L)"')
_OTHERS = (
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xd0\xcf\x11\xe0", "a file of an old office program"),
)


def encoding_of(head: bytes) -> str | None:
    """The encoding of a text file by its first bytes; None where they are no text."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        # Most characters of a table are ASCII, whose other byte is 0.
        even, odd = head[0::2].count(0), head[1::2].count(0)
        if max(even, odd) * 4 < len(head) or min(even, odd) * 8 > max(even, odd):
            return None
        return "utf-16-le" if odd > even else "utf-16-be"
    if sum(byte < 32 and byte not in b"\t\n\r\f\v" for byte in head[:4096]) > 8:
        return None
    try:
        head[: head.rfind(b"\n") + 1 or None].decode()
    except UnicodeDecodeError as error:
        # The last character may be cut in two.
        if error.start < len(head) - 4 or error.reason != "unexpected end of data":
            return "cp1252"
    return "utf-8"


def detect(head: bytes) -> str:
    """The kind of file that begins with these bytes.

    head: its first HEAD bytes. One of "DICOM", "ISHNE", "ATC", "SCP", "EDF", "MUSE", "Sierra",
    "aECG", "Kardia", "MAT", "text"; else what people call it, such as "a PDF".
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
    for mark, kind in _OTHERS:
        if head.startswith(mark):
            return kind
    encoding = encoding_of(head)
    return "a binary file" if encoding is None else _detect_text(head.decode(encoding, "replace"))


def _detect_text(text: str) -> str:
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        root = _ROOT.search(_NO_ROOT.sub(" ", text))
        known = _XML_ROOTS.get(root[1].lower()) if root else None
        return known or ("an HTML page" if root and root[1].lower() == "html" else "an XML file")
    if text.startswith("{"):
        return "Kardia" if _KARDIA.search(text) else "a JSON file"
    # The shortest table has a number, or a line of names.
    is_table = re.search(r"[\d\n,;]", text.strip()) or len(text) >= HEAD
    return "text" if is_table else "another kind of file"


def _is_bare_dicom(head: bytes) -> bool:
    """Whether a data set begins at once, without DICOM's preamble: with an element of group 2 or 8,
    little endian, of a known type or a small length."""
    if len(head) < 12 or head[:2] not in (b"\x02\0", b"\x08\0") or head[3] != 0:
        return False
    return head[4:6] in (b"UL", b"UI", b"OB", b"CS", b"SH", b"LO", b"DA") or (
        int.from_bytes(head[4:8], "little") <= 64
    )


def _is_scp(head: bytes) -> bool:
    """Whether SCP-ECG's section 0 stands where it must, with a pointer to itself first."""
    if len(head) < 32:
        return False
    number, length = int.from_bytes(head[8:10], "little"), int.from_bytes(head[10:14], "little")
    if number != 0 or length < 26:
        return False
    pointer = int.from_bytes(head[22:24], "little"), int.from_bytes(head[28:32], "little")
    return head[16:22] == b"SCPECG" or pointer == (0, 7)

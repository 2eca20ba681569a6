"""The files that make a folder a bag (BagIt, RFC 8493): declaration, facts, manifests."""

from collections.abc import Mapping
from datetime import date

DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
PAYLOAD = "data/"


def write_bag_manifest(digests: Mapping[str, str]) -> bytes:
    """Return a manifest: the SHA-256 of each file by its path, which has no character that would be encoded."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items())).encode()


def write_bag_info(*, day: date, size_bytes: int, files: int, description: str, identifier: str, agent: str) -> bytes:
    """Return `bag-info.txt`. A line must not go on in the next one: texts are put on one line."""
    fields = {
        "Bagging-Date": day.isoformat(),
        "Bag-Software-Agent": agent,
        "Payload-Oxum": f"{size_bytes}.{files}",
        "External-Identifier": identifier,
        "External-Description": description,
    }
    return "".join(f"{name}: {' '.join(value.split())}\n" for name, value in fields.items()).encode()

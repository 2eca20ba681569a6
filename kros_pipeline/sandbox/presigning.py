"""Mint and check presigned URLs in the form of S3: they need no other credentials and expire."""

from __future__ import annotations

import hmac
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import unquote

_DATE = "%Y%m%dT%H%M%SZ"


class Signer:
    """Mints and checks presigned URLs. Each URL is different."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._numbers = itertools.count(1)

    def presign(self, origin: str, path: str, *, now: float, seconds: float) -> str:
        """Mint the URL of a percent-encoded `path` below `origin`, valid for `seconds` from Unix time `now`.

        S3 writes the date in whole seconds, so a short lifetime also contains the fraction of `now`.
        """
        date = _format_date(int(now))
        lifetime = f"{seconds:.0f}" if seconds >= 60 else f"{seconds + now % 1:.3f}"
        credential = f"SANDBOX{next(self._numbers):09d}/{date[:8]}/us-east-1/s3/aws4_request"
        signature = self._signature(unquote(path), credential, date, lifetime)
        return (
            f"{origin}{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential.replace('/', '%2F')}"
            f"&X-Amz-Date={date}&X-Amz-Expires={lifetime}&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
        )

    def find_refusal(self, path: str, query: Mapping[str, str], *, now: float) -> str | None:
        """Return S3's message if the request must be refused, None if it is valid."""
        try:
            credential, date, lifetime = query["X-Amz-Credential"], query["X-Amz-Date"], query["X-Amz-Expires"]
            signature = query["X-Amz-Signature"]
            expires_at = datetime.strptime(date, _DATE).replace(tzinfo=UTC).timestamp() + float(lifetime)
        except (KeyError, ValueError):
            return "Access Denied"
        if not hmac.compare_digest(signature, self._signature(unquote(path), credential, date, lifetime)):
            return "The request signature we calculated does not match the signature you provided."
        return "Request has expired" if now >= expires_at else None

    def _signature(self, *signed: str) -> str:
        return hmac.digest(self._secret, "\n".join(signed).encode(errors="surrogatepass"), "sha256").hex()


@lru_cache(maxsize=4)
def _format_date(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime(_DATE)

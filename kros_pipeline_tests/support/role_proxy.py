"""An S3 that a role asks: what the role's policies do not allow is answered with 403, and fails the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kros_pipeline_tests.support.iam import Need, UnknownRequest, allows, need_to_see_absence, needs_of
from kros_pipeline_tests.support.s3_proxy import Answer, Request, S3Proxy, s3_proxy

_DENIED = Answer(403, "AccessDenied", "Access Denied")


class Role:
    """What a role asked: `used` has each action that was allowed, `refused` what was not."""

    def __init__(self, proxy: S3Proxy, policies: tuple[Any, ...], kms_key: str | None) -> None:
        self.proxy, self._policies, self._kms_key = proxy, policies, kms_key
        self.used: set[str] = set()
        self.refused: set[tuple[str, str]] = set()
        proxy.script, proxy.on_answer = self._judge, self._judge_absence

    @property
    def url(self) -> str:
        return self.proxy.url

    @property
    def requests(self) -> list[Request]:
        return self.proxy.requests

    def _judge(self, request: Request) -> Answer | None:
        try:
            needs = needs_of(request, self._kms_key)
        except UnknownRequest as unknown:
            self.refused.add((str(unknown), request.target))
            return _DENIED
        return None if all(map(self._allows, needs)) else _DENIED

    def _judge_absence(self, request: Request, status: int) -> Answer | None:
        need = need_to_see_absence(request) if status == 404 else None
        return None if need is None or self._allows(need) else _DENIED

    def _allows(self, need: Need) -> bool:
        is_allowed = allows(self._policies, need)
        if is_allowed:
            self.used.add(need.action)
        else:
            about = "".join(f" {name}={value}" for name, value in need.context)
            self.refused.add((need.action, need.resource + about))
        return is_allowed


@contextmanager
def role(behind: str, *policies: Any, kms_key: str | None = None, may_be_refused: bool = False) -> Iterator[Role]:
    """Start an S3 for a role in front of another. At the end nothing may have been refused, unless that is the test."""
    with s3_proxy(behind) as proxy:
        asked = Role(proxy, policies, kms_key)
        yield asked
    assert may_be_refused or not asked.refused, sorted(asked.refused)

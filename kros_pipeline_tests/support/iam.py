"""What IAM decides about requests to S3: one table from requests to actions, and a reading of the policies.

It knows what these documents and these clients need, and raises `UnknownRequest` or `ValueError` for anything else:
what nobody has thought of is not allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from kros_pipeline_tests.support.s3_proxy import Request


class UnknownRequest(Exception):
    """The table does not have a request."""


@dataclass(frozen=True)
class Need:
    """One action that a request needs on one resource, with the condition keys that S3 reports."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


# Method and subresource, of a bucket and of an object. The ARN of an action of an object has the key.
_OF_A_BUCKET = {
    "GET list-type": "s3:ListBucket",
    "GET": "s3:ListBucket",
    "HEAD": "s3:ListBucket",
    "GET versions": "s3:ListBucketVersions",
    "GET location": "s3:GetBucketLocation",
    "GET object-lock": "s3:GetBucketObjectLockConfiguration",
    "GET versioning": "s3:GetBucketVersioning",
    "GET uploads": "s3:ListBucketMultipartUploads",
}
_OF_AN_OBJECT = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "GET versionId": "s3:GetObjectVersion",
    "HEAD versionId": "s3:GetObjectVersion",
    "GET legal-hold": "s3:GetObjectLegalHold",
    "PUT legal-hold": "s3:PutObjectLegalHold",
    "GET retention": "s3:GetObjectRetention",
    "GET tagging": "s3:GetObjectTagging",
    "PUT tagging": "s3:PutObjectTagging",
    "GET tagging versionId": "s3:GetObjectVersionTagging",
    "PUT tagging versionId": "s3:PutObjectVersionTagging",
    "GET acl": "s3:GetObjectAcl",
    "GET uploadId": "s3:ListMultipartUploadParts",
    "PUT": "s3:PutObject",
    "PUT uploadId": "s3:PutObject",
    "POST uploads": "s3:PutObject",
    "POST uploadId": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
    "DELETE versionId": "s3:DeleteObjectVersion",
    "DELETE uploadId": "s3:AbortMultipartUpload",
}
_OF_A_HEADER = {
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-bypass-governance-retention": "s3:BypassGovernanceRetention",
}
_OF_THE_KEY = {
    "s3:GetObject": "kms:Decrypt",
    "s3:GetObjectVersion": "kms:Decrypt",
    "s3:PutObject": "kms:GenerateDataKey",
}
_WITHOUT_MEANING = {  # parameters that change nothing about who may ask
    "continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "marker", "max-keys", "partNumber",
    "prefix", "start-after", "version-id-marker", "x-id",
}  # fmt: skip


def needs_of(request: Request, kms_key: str | None = None) -> list[Need]:
    """Return every action that S3 checks for a request. With `kms_key` the bucket's objects are encrypted with it."""
    place = urlsplit(request.target)
    bucket, _, key = unquote(place.path).lstrip("/").partition("/")
    query = {name: values[0] for name, values in parse_qs(place.query, keep_blank_values=True).items()}
    of_the_bucket = f"arn:aws:s3:::{bucket}"
    if request.method == "POST" and not key and "delete" in query:
        return [_deletion(of_the_bucket, *one) for one in _deleted(request.body)]
    about = sorted(name for name in query if name not in _WITHOUT_MEANING)
    if {"legal-hold", "retention"} & set(about):
        about = [name for name in about if name != "versionId"]  # the action is the same for a version
    name = " ".join([request.method, *about])
    try:
        action = (_OF_AN_OBJECT if key else _OF_A_BUCKET)[name]
    except KeyError:
        raise UnknownRequest(f"{name} of {'an object' if key else 'a bucket'}") from None
    if not key:
        prefix = query.get("prefix", "")
        return [Need(action, of_the_bucket, (("s3:prefix", prefix),) if "location" not in query else ())]
    resource = f"{of_the_bucket}/{key}"
    needs = [Need(action, resource, tuple(_reported_of(request, about)))]
    needs += [
        Need(also, resource, tuple(_reported_of(request, about)))
        for header, also in _OF_A_HEADER.items()
        if header in request.headers
    ]
    if source := unquote(request.headers.get("x-amz-copy-source", "")).lstrip("/"):
        needs.append(Need("s3:GetObject", f"arn:aws:s3:::{source.split('?')[0]}"))
    if kms_key is not None and request.method != "HEAD":
        needs += [
            Need(_OF_THE_KEY[need.action], kms_key, (("kms:ViaService", "s3.us-east-1.amazonaws.com"),))
            for need in needs
            if need.action in _OF_THE_KEY
        ]
    return needs


def need_to_see_absence(request: Request) -> Need | None:
    """Return what a read of an object needs so that S3 answers 404 and not 403 where it is absent.

    S3 decides it as a listing with the key for a prefix.
    """
    bucket, _, key = unquote(urlsplit(request.target).path).lstrip("/").partition("/")
    if request.method not in ("GET", "HEAD") or not key:
        return None
    return Need("s3:ListBucket", f"arn:aws:s3:::{bucket}", (("s3:prefix", key),))


_REPORTED_HEADERS = {
    "x-amz-server-side-encryption": "s3:x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-object-lock-legal-hold": "s3:object-lock-legal-hold",
    "if-none-match": "s3:if-none-match",
    "if-match": "s3:if-match",
}


def _reported_of(request: Request, about: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the condition keys that S3 reports of a request for an object."""
    for name, key in _REPORTED_HEADERS.items():
        if name in request.headers:
            yield key, request.headers[name]
    if request.method == "PUT" and "legal-hold" in about:
        status = next((node for node in ElementTree.fromstring(request.body) if node.tag.endswith("Status")), None)
        yield "s3:object-lock-legal-hold", (status.text if status is not None else None) or ""


def _deletion(bucket: str, key: str, version: str | None) -> Need:
    return Need("s3:DeleteObject" if version is None else "s3:DeleteObjectVersion", f"{bucket}/{key}")


def _deleted(body: bytes) -> Iterator[tuple[str, str | None]]:
    """Yield keys and versions that a deletion of many names."""
    for node in ElementTree.fromstring(body):
        parts = {part.tag.rpartition("}")[2]: part.text for part in node}
        if "Key" in parts:
            yield parts["Key"] or "", parts.get("VersionId")


# Policies.


def allows(policies: tuple[Any, ...], need: Need) -> bool:
    """Return whether the policies of a role allow something: a statement does, and none denies it."""
    return {effect for policy in policies for effect in effects_of(policy, need)} == {"Allow"}


def effects_of(policy: Any, need: Need) -> Iterator[str]:
    """Yield the effects of the statements that apply."""
    context = dict(need.context)
    for statement in policy["Statement"]:
        actions, resources = (_list(statement[name]) for name in ("Action", "Resource"))
        if (
            any(fnmatchcase(need.action, pattern) for pattern in actions)
            and any(fnmatchcase(need.resource, pattern) for pattern in resources)
            and all(
                _OPERATORS[operator](context.get(key), _list(values))
                for operator, conditions in statement.get("Condition", {}).items()
                for key, values in conditions.items()
            )
        ):
            yield statement["Effect"]


def granted_actions(policy: Any) -> Iterator[str]:
    """Yield each action that a policy allows."""
    for statement in policy["Statement"]:
        if statement["Effect"] == "Allow":
            yield from _list(statement["Action"])


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


_OPERATORS: Mapping[str, Callable[[str | None, list[str]], bool]] = {
    "Null": lambda value, wanted: (value is None) == (wanted == ["true"]),
    "StringNotEquals": lambda value, wanted: value not in wanted,
    "StringEquals": lambda value, wanted: value in wanted,
    "Bool": lambda value, wanted: value in wanted,
    "StringLike": lambda value, wanted: value is not None and any(fnmatchcase(value, one) for one in wanted),
    "NumericLessThan": lambda value, wanted: value is not None and float(value) < float(wanted[0]),
}

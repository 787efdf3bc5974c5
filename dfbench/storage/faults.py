"""What can go wrong with a place in object storage: worth another try or not, and said in a line.

The libraries below fsspec each raise their own exceptions; none of them is imported here, since
which are installed depends on the place.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from dfbench.errors import UserError, one_line

_LIBRARIES = ("aiohttp", "aiobotocore", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs")
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "ProfileNotFound",
    "RefreshError",
    "SSOError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
)
_WRONG_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
_ELSEWHERE = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint")
_MEANS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `aws configure`",
    "gs": "`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS",
}
_EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}


class NotThereError(Exception):
    """There is no such object, or no such bucket: not every server tells which."""


@dataclass(frozen=True)
class Fault:
    """What an exception means."""

    text: str
    final: bool  # another try would change nothing


def explain(error: Exception, scheme: str) -> Fault | None:
    """Say what an exception means; None where it is no fault of the place or the way to it."""
    chain = list(_chain(error))
    names = {type(one).__name__ for one in chain}
    codes = {code for one in chain if (code := _code(one))}
    means = _MEANS.get({"gcs": "gs"}.get(scheme, scheme), "see the library's own page")
    if names.intersection(_NO_CREDENTIALS):
        return Fault(f"no usable credentials ({_said(error)}): {means}", final=True)
    if "NoSuchBucket" in codes | names:
        return Fault("there is no such bucket: create it, or correct the name", final=True)
    if codes.intersection(_WRONG_KEYS) or "401" in codes:
        return Fault(f"the credentials are not accepted ({_said(error)}): {means}", final=True)
    if isinstance(error, PermissionError) or "403" in codes or "Forbidden" in str(error):
        return Fault(
            f"permission denied ({_said(error)}): the credentials must be allowed to list, read, "
            "write and delete there",
            final=True,
        )
    if codes.intersection(_ELSEWHERE):
        return Fault(f"the bucket is in another region ({_said(error)}): set AWS_REGION", True)
    if names & {"ParamValidationError", "InvalidEndpointError"} or "InvalidBucketName" in codes:
        return Fault(_said(error), final=True)
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        foreign = any(_library(one) for one in chain) or "endpoint" in str(error).lower()
        return Fault(_said(error), final=True) if foreign else None
    if any(isinstance(one, OSError) or _library(one) for one in chain):
        return Fault(_said(error), final=_refused(chain))
    return None


def _refused(chain: list[Exception]) -> bool:
    """Tell whether a server has answered that the request itself is wrong."""
    status = [_status(one) for one in chain]
    return any(400 <= one < 500 and one not in (408, 425, 429) for one in status)


def _status(error: Exception) -> int:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        # S3 says it where a client was slow, with status 400.
        slow = response.get("Error", {}).get("Code") in ("RequestTimeout", "SlowDown")
        return 0 if slow else int(found)
    code = _answered(error)
    return int(code) if code.isdigit() else 0


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return _answered(error)


def _answered(error: Exception) -> str:
    """Return the HTTP status of Google's errors; aiohttp's may be of an answer that it made up."""
    if type(error).__module__.startswith("aiohttp"):
        return ""
    return str(getattr(error, "code", "") or "")


def _library(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in _LIBRARIES or isinstance(error, TimeoutError)


def _chain(error: BaseException | None) -> Iterator[Exception]:
    for _ in range(10):
        if not isinstance(error, Exception):
            return
        yield error
        error = error.__cause__ or error.__context__


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    text = one_line(str(error.strerror or error) if isinstance(error, OSError) else str(error))
    return (text or type(error).__name__)[:200]


def of_this_machine(error: OSError) -> bool:
    """Tell whether an error is about a file here, such as a full disk."""
    return error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def not_installed(url: str, scheme: str, error: Exception) -> UserError:
    """Return what to say where the library of a place is missing."""
    extra = _EXTRAS.get(scheme)
    if extra:
        return UserError(f"{url}: needs a package more: pip install 'dfbench[{extra}]'")
    return UserError(f"{url}: {one_line(str(error))[:200]}; tested are s3:// and gs://")

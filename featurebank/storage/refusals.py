"""Why a bucket did not do what it was asked for, in one line each with a remedy."""

from __future__ import annotations

import errno
from typing import Any

from featurebank.errors import BankReadOnlyError, StorageError
from featurebank.storage.address import Address

_NO_CREDENTIALS = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
    "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "NoAuthTokenError",
}  # fmt: skip
_REFUSED = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
    "AuthorizationHeaderMalformed", "InvalidClientTokenId", "InvalidSecurity",
}  # fmt: skip
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}
_NO_BUCKET = {"NoSuchBucket", "InvalidBucketName", "PermanentRedirect"}
NOT_CONDITIONAL = {"NotImplemented", "501"}
PRECONDITION = {"PreconditionFailed", "412"}
CONCURRENT = {"ConditionalRequestConflict", "409"}
MISSING = {"NoSuchKey", "404", "NotFound"}
UNCHANGED = {"304", "NotModified"}


def code_of(error: BaseException) -> str:
    """Returns the code with which a server refused a request; "" for another error."""
    response: Any = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def explain(error: BaseException, address: Address, *, writing: bool) -> StorageError | BankReadOnlyError:
    """Returns the error for the user.

    Args:
        error: what the client raised.
        address: the cache.
        writing: whether the request would have changed the bucket.
    """
    code, name, reason = code_of(error), type(error).__name__, " ".join(str(error).split())[:300]
    if name in _NO_CREDENTIALS:
        text = (
            f"no credentials for '{address}' ({reason}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    elif code in _REFUSED:
        text = f"the credentials for '{address}' were refused ({code}: {_message(error)}): check them and AWS_PROFILE"
    elif code == "RequestTimeTooSkewed":
        text = f"the clock of this machine differs too much from that of the server of '{address}': set it right"
    elif code in _DENIED and writing:
        text = f"'{address}' is read-only with these credentials ({code}): reading works; use others to write there"
        return BankReadOnlyError(errno.EACCES, text)
    elif code in _DENIED:
        text = f"the credentials may not read or list '{address}' ({code}): use others, or ask the owner of the bucket"
    elif code in _NO_BUCKET:
        text = (
            f"there is no bucket '{address.bucket}' ({code}): create it, or check its name, AWS_ENDPOINT_URL and "
            "AWS_REGION"
        )
    elif code in NOT_CONDITIONAL and writing:
        text = without_conditions(address, f"a conditional PUT is answered by '{code}'")
    elif code:
        text = f"'{address}' refused a request ({code}: {_message(error)}): run the same command again later"
    else:
        text = (
            f"no answer from the server of '{address}' ({name}: {reason}): check the network and AWS_ENDPOINT_URL, "
            "then run the same command again; everything finished so far is kept"
        )
    return StorageError(text)


def without_conditions(address: Address, reason: str) -> str:
    """Returns the message for a bucket that cannot replace objects under conditions."""
    return (
        f"'{address}' has no conditional writes ({reason}), so two writers could overwrite each other: use a storage "
        "that supports If-Match and If-None-Match, or a directory"
    )


def _message(error: BaseException) -> str:
    response: Any = getattr(error, "response", None)
    return " ".join(str(response.get("Error", {}).get("Message", "")).split())[:200]

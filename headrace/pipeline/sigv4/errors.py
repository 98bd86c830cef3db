"""Why a signature is not accepted, in AWS' words; each is answered 403."""

from __future__ import annotations

from headrace.pipeline.errors import HeadraceError


class SignatureRefused(HeadraceError):  # noqa: N818 -- named for the condition
    """A request is not signed, or its signature does not stand.

    Args:
        code: AWS' name of the error, the value of ``x-amzn-ErrorType``.
        message: AWS' text for the sender.
        field: What of the request is wrong, for the audit log: ``authorization``, ``date``, ``region``, ``service``,
            ``access key``, ``session token``, ``body`` or ``signature``.
    """

    def __init__(self, code: str, message: str, field: str) -> None:
        self.message = message.encode("utf-8", "replace").decode()  # parts of the request may be no text
        super().__init__(self.message)
        self.code = code
        self.field = field


def missing() -> SignatureRefused:
    """Return the error of a request without credentials."""
    return SignatureRefused("MissingAuthenticationTokenException", "Missing Authentication Token", "authorization")


def incomplete(why: str) -> SignatureRefused:
    """Return the error of credentials with a part missing or malformed."""
    return SignatureRefused("IncompleteSignatureException", why, "authorization")


def invalid(why: str, field: str) -> SignatureRefused:
    """Return the error of a signature that is whole, and wrong."""
    return SignatureRefused("InvalidSignatureException", why, field)


def unknown_key() -> SignatureRefused:
    """Return the error of an access key that nobody has, or of a session token that is not its own."""
    text = "The security token included in the request is invalid."
    return SignatureRefused("UnrecognizedClientException", text, "access key")


def expired_token() -> SignatureRefused:
    """Return the error of credentials that were good once."""
    text = "The security token included in the request is expired"
    return SignatureRefused("ExpiredTokenException", text, "session token")


def mismatch(canonical: str, to_sign: str) -> SignatureRefused:
    """Return the error of a signature that is not the one computed here, with both strings to compare."""
    return invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details.\n\n"
        f"The Canonical String for this request should have been\n'{canonical}'\n\n"
        f"The String-to-Sign should have been\n'{to_sign}'\n",
        "signature",
    )

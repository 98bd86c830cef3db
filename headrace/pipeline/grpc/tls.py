"""What of the TLS settings gRPC does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.pipeline.tls import TlsConfig

_WHY = "cannot be chosen with gRPC, which speaks TLS 1.2 and 1.3 with suites and curves of its own"


def check_tls(tls: TlsConfig | None) -> None:
    """Check that settings ask nothing of gRPC that it does not do.

    Raises:
        ValueError: They do; the text names the option.
    """
    if tls is None:
        return
    if tls.min_version != "1.2":
        raise ValueError(f"min_version {tls.min_version} cannot be asked of gRPC, which speaks 1.2 and 1.3")
    if tls.max_version == "1.2":
        raise ValueError("max_version 1.2 cannot be asked of gRPC, which speaks 1.2 and 1.3")
    for name in ("cipher_suites", "curve_preferences"):
        if getattr(tls, name):
            raise ValueError(f"{name} {_WHY}")

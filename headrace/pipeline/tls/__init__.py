"""TLS of servers and clients, over HTTP and gRPC: settings, files that change, contexts."""

from headrace.pipeline.tls.config import TlsClientConfig, TlsConfig, TlsServerConfig

__all__ = ["TlsClientConfig", "TlsConfig", "TlsServerConfig"]

"""What exporters that send over a network share: a queue, retries, limits."""

from headrace.pipeline.sending.config import QueueConfig, RetryConfig, SendingConfig
from headrace.pipeline.sending.sender import Permanent, Sender, Throttled

__all__ = ["Permanent", "QueueConfig", "RetryConfig", "Sender", "SendingConfig", "Throttled"]

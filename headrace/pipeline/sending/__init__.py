"""What exporters that send over a network share: a queue, retries, limits."""

from headrace.pipeline.sending.config import QueueBatchConfig, QueueConfig, RetryConfig, SendingConfig
from headrace.pipeline.sending.exporter import SendingExporter
from headrace.pipeline.sending.letters import LetterBox
from headrace.pipeline.sending.results import Loss, Permanent, Rest, Throttled
from headrace.pipeline.sending.sender import Sender

__all__ = [
    "LetterBox",
    "Loss",
    "Permanent",
    "QueueBatchConfig",
    "QueueConfig",
    "Rest",
    "RetryConfig",
    "Sender",
    "SendingConfig",
    "SendingExporter",
    "Throttled",
]

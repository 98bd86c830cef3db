"""Queues on disk: what `file_storage` offers to exporters, and how batches are written."""

from headrace.pipeline.storage.protocol import QueueStorage
from headrace.pipeline.storage.record_log import Record, RecordLog

__all__ = ["QueueStorage", "Record", "RecordLog"]

"""The Collector's ``batch``, accepted so that configurations of the Collector load.

It changes nothing here: points travel in columns from the start, an acknowledgement waits for the durable point, and
exporters that gain from larger requests batch in their ``sending_queue``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig, NonNegativeDuration

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch


class BatchConfig(ComponentConfig):
    """Settings of the ``batch`` processor; they are checked and have no effect."""

    timeout: NonNegativeDuration = timedelta(milliseconds=200)
    """In the Collector: how long points wait."""

    send_batch_size: Annotated[int, Field(ge=0)] = 8192
    """In the Collector: points that are enough."""

    send_batch_max_size: Annotated[int, Field(ge=0)] = 0
    """In the Collector: points that are too many."""

    metadata_keys: tuple[str, ...] = ()
    """In the Collector: headers by which batches are kept apart. Nothing is joined here; for what is joined in the
    queue of an exporter, see its ``sending_queue.batch.partition``."""

    metadata_cardinality_limit: Annotated[int, Field(ge=0)] = 1000
    """In the Collector: values of these that are too many."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0 < self.send_batch_max_size < self.send_batch_size:
            raise ValueError("send_batch_max_size must be greater or equal to send_batch_size")
        return self


class BatchProcessor:
    """Passes batches on."""

    def __init__(self, settings: Settings, config: BatchConfig) -> None:
        del config
        settings.logger.info("batch is not needed here and changes nothing; exporters batch in their sending_queue")

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Return the batch."""
        return batch


FACTORY = ProcessorFactory(name="batch", config=BatchConfig, create=BatchProcessor)

"""The OTLP edge: batches as points of OTLP series only, for exporters and files of OTLP."""

from headrace.pipeline.to_otlp.edge import Converted, OtlpEdge
from headrace.pipeline.to_otlp.exporter import OtlpSendingExporter
from headrace.pipeline.to_otlp.warm import warm_up

__all__ = ["Converted", "OtlpEdge", "OtlpSendingExporter", "warm_up"]

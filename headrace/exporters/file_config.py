"""Settings of the ``file`` exporter."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import ComponentConfig, NonNegativeDuration
from headrace.pipeline.config.refusal import refuse

_REFUSED = {"encoding": "there are no encoding extensions: use format"}


class RotationConfig(ComponentConfig):
    """When a file is put aside for a new one, and how many are kept."""

    max_megabytes: Annotated[int, Field(ge=0)] = 100
    """MiB from which a file is put aside; 0 means 100."""

    max_days: Annotated[int, Field(ge=0)] = 0
    """Days of 24 hours that files are kept by the time in their names; 0 for ever."""

    max_backups: Annotated[int, Field(ge=0)] = 100
    """Files that are kept; 0 for all."""

    localtime: bool = False
    """Whether the time in names is local; else it is UTC."""


class GroupByConfig(ComponentConfig):
    """Files by a resource attribute."""

    enabled: bool = False
    """Whether there are several files."""

    resource_attribute: Annotated[str, Field(min_length=1)] = "fileexporter.path_segment"
    """Attribute whose value stands for the ``*`` of `path`; points of resources without it are dropped."""

    max_open_files: Annotated[int, Field(ge=1)] = 100
    """Files that are open at a time; the one that was not written to for the longest time is closed for another."""


class CompressionParamsConfig(ComponentConfig):
    """How hard the compressor tries."""

    level: Annotated[int, Field(ge=0, le=22)] = 3
    """Level of zstd; 0 for its default."""


class FileConfig(ComponentConfig):
    """Settings of the ``file`` exporter."""

    path: Annotated[str, Field(min_length=1)]
    """File to write; with `group_by` it holds one ``*``."""

    format: Literal["json", "proto"] = "json"
    """``json`` writes OTLP requests as JSON, one a line; ``proto`` as protobuf, each behind its length (four bytes, the
    highest first)."""

    compression: Literal["", "zstd"] = ""
    """Compress each request by itself. Compressed JSON stands behind its length as well."""

    compression_params: CompressionParamsConfig = CompressionParamsConfig()
    """How hard."""

    flush_interval: NonNegativeDuration = timedelta(seconds=1)
    """How often what was written is handed to the system; 0 does so after each batch."""

    append: bool = False
    """Keep what is in the file at start; else it is emptied."""

    rotation: RotationConfig | None = None
    """Put files aside by size."""

    group_by: GroupByConfig = GroupByConfig()
    """Write several files."""

    create_directory: bool = False
    """Make the folder of the file where there is none."""

    directory_permissions: str = "0755"
    """Permissions of folders that are made, in octal digits."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        if isinstance(given, dict) and "rotation" in given and given["rotation"] is None:
            given = {**given, "rotation": {}}
        return refuse(given, _REFUSED)

    @field_validator("directory_permissions", mode="before")
    @classmethod
    def _check_permissions(cls, text: Any) -> Any:
        if not isinstance(text, str) or not re.fullmatch("0?[0-7]{3}", text):
            raise ValueError(f'must be octal digits in quotes, such as "0755", got {text!r}')
        return text

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.append and (self.compression or self.rotation is not None):
            raise ValueError("append goes neither with compression nor with rotation")
        if self.group_by.enabled and self.path.count("*") != 1:
            raise ValueError("path must hold one * where group_by is enabled")
        if self.group_by.enabled and self.path.startswith("*"):
            raise ValueError("path must not begin with *: a resource could then name any file")
        return self

    @property
    def is_framed(self) -> bool:
        """Whether requests stand behind their lengths; else each is a line."""
        return self.format == "proto" or bool(self.compression)

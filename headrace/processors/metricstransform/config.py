"""Settings of ``metricstransform``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.regex import searching


class MatchType(StrEnum):
    """How metric names and labels are compared."""

    STRICT = "strict"
    REGEXP = "regexp"


class Action(StrEnum):
    """What becomes of the metrics that match."""

    UPDATE = "update"
    INSERT = "insert"
    COMBINE = "combine"
    GROUP = "group"


class Aggregation(StrEnum):
    """How points that become points of one series at one time are put together."""

    SUM = "sum"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    COUNT = "count"
    MEDIAN = "median"


class SubmatchCase(StrEnum):
    """How letters of what a pattern's groups find are written."""

    LOWER = "lower"
    UPPER = "upper"


class OperationAction(StrEnum):
    """What an operation does."""

    ADD_LABEL = "add_label"
    UPDATE_LABEL = "update_label"
    DELETE_LABEL_VALUE = "delete_label_value"
    TOGGLE_SCALAR_DATA_TYPE = "toggle_scalar_data_type"
    SCALE_VALUE = "experimental_scale_value"
    AGGREGATE_LABELS = "aggregate_labels"
    AGGREGATE_LABEL_VALUES = "aggregate_label_values"


AGGREGATING = frozenset({OperationAction.AGGREGATE_LABELS, OperationAction.AGGREGATE_LABEL_VALUES})

_NEEDS = {
    OperationAction.ADD_LABEL: ("new_label", "new_value"),
    OperationAction.UPDATE_LABEL: ("label",),
    OperationAction.DELETE_LABEL_VALUE: ("label", "label_value"),
    OperationAction.SCALE_VALUE: ("experimental_scale",),
    OperationAction.AGGREGATE_LABEL_VALUES: ("label", "aggregated_values", "new_value"),
}
_USES = {
    OperationAction.ADD_LABEL: {"new_label", "new_value"},
    OperationAction.UPDATE_LABEL: {"label", "new_label", "value_actions"},
    OperationAction.DELETE_LABEL_VALUE: {"label", "label_value"},
    OperationAction.TOGGLE_SCALAR_DATA_TYPE: set(),
    OperationAction.SCALE_VALUE: {"experimental_scale"},
    OperationAction.AGGREGATE_LABELS: {"label_set", "aggregation_type"},
    OperationAction.AGGREGATE_LABEL_VALUES: {"label", "aggregated_values", "new_value", "aggregation_type"},
}


class ValueAction(ComponentConfig):
    """A label value to rename."""

    value: str
    """As it is."""

    new_value: str
    """As it shall be."""


class Operation(ComponentConfig):
    """A change of the metrics that match."""

    action: OperationAction
    """``add_label``, ``update_label``, ``delete_label_value``, ``toggle_scalar_data_type``,
    ``experimental_scale_value``, ``aggregate_labels`` or ``aggregate_label_values``."""

    label: str = ""
    """The label to change, or whose values are put together."""

    new_label: str = ""
    """Its new name; of ``add_label``, the label to set."""

    label_set: tuple[str, ...] = ()
    """Of ``aggregate_labels``: the labels to keep."""

    label_value: str = ""
    """Of ``delete_label_value``: points with this value are dropped."""

    aggregated_values: tuple[str, ...] = ()
    """Of ``aggregate_label_values``: the values to put together."""

    new_value: str = ""
    """Of ``aggregate_label_values`` and ``add_label``: the value that results."""

    value_actions: tuple[ValueAction, ...] = ()
    """Of ``update_label``: values to rename."""

    aggregation_type: Aggregation = Aggregation.SUM
    """``sum``, ``mean``, ``min``, ``max``, ``count`` or ``median``."""

    experimental_scale: float = Field(default=0.0, allow_inf_nan=False)
    """Of ``experimental_scale_value``: what values are multiplied with."""

    @field_validator("aggregation_type", mode="before")
    @classmethod
    def _average(cls, value: object) -> object:
        return Aggregation.MEAN if value == "average" else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in _NEEDS.get(self.action, ()):
            if not getattr(self, name):
                raise ValueError(f"{name} must be set for {self.action}")
        unused = self.model_fields_set - _USES[self.action] - {"action"}
        if unused:
            raise ValueError(f"{', '.join(sorted(unused))} means nothing for {self.action}")
        return self


class Transform(ComponentConfig):
    """A change of metrics by name."""

    include: Annotated[str, Field(min_length=1)]
    """Metric name, or RE2 pattern that is looked for anywhere in it."""

    match_type: MatchType = MatchType.STRICT
    """``strict`` or ``regexp``; also of `experimental_match_labels`."""

    experimental_match_labels: dict[str, str] = Field(default_factory=dict)
    """Values of labels, or patterns, all of which have to fit; an absent label has the empty value."""

    action: Action
    """``update`` changes the metrics, ``insert`` a copy of them; ``combine`` makes one metric of them, with a label for
    each group of the pattern; ``group`` puts them under a resource with more attributes."""

    new_name: str = ""
    """New metric name, with ``$1`` or ``${name}`` for groups of the pattern; required by ``insert`` and ``combine``."""

    aggregation_type: Aggregation = Aggregation.SUM
    """Of ``combine``: how points of one series and time are put together."""

    submatch_case: SubmatchCase | None = None
    """Of ``combine``: ``lower`` or ``upper`` letters in the labels of the groups; as they are, where it is not set."""

    group_resource_labels: dict[str, str] = Field(default_factory=dict)
    """Of ``group``: attributes of the resource; series of Prometheus sources get them as labels."""

    operations: tuple[Operation, ...] = ()
    """Further changes, in order."""

    @field_validator("aggregation_type", mode="before")
    @classmethod
    def _average(cls, value: object) -> object:
        return Aggregation.MEAN if value == "average" else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.action in {Action.INSERT, Action.COMBINE} and not self.new_name:
            raise ValueError(f"new_name must be set for {self.action}")
        if self.action is Action.COMBINE and self.match_type is not MatchType.REGEXP:
            raise ValueError("match_type must be regexp for combine")
        if self.action is Action.GROUP and not self.group_resource_labels:
            raise ValueError("group_resource_labels must be set for group")
        if self.action is Action.GROUP and (self.operations or self.new_name):
            raise ValueError("operations and new_name mean nothing for group")
        if self.action is not Action.GROUP and self.group_resource_labels:
            raise ValueError("group_resource_labels means nothing but for group")
        if self.action is not Action.COMBINE and {"aggregation_type", "submatch_case"} & self.model_fields_set:
            raise ValueError("aggregation_type and submatch_case of a transform mean nothing but for combine")
        if self.match_type is MatchType.REGEXP:
            for pattern in (self.include, *self.experimental_match_labels.values()):
                try:
                    searching(pattern)
                except InvalidInput as error:
                    raise ValueError(str(error)) from None
        return self


class MetricsTransformConfig(ComponentConfig):
    """Settings of the ``metricstransform`` processor."""

    transforms: tuple[Transform, ...]
    """Changes, in order: each sees what the ones before it have made."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.transforms:
            raise ValueError("transforms must have at least one entry")
        return self

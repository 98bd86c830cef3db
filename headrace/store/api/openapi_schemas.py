"""Shapes of the API's answers, for its OpenAPI document.

A shape is written as a JSON Schema. Objects name their members with ``?`` behind those that may be missing; other
members are no part of the answer.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer", "format": "int64"}
BOOLEAN: Schema = {"type": "boolean"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
ANYTHING: Schema = {}
STRINGS: Schema = {"type": "array", "items": STRING}


def ref(name: str) -> Schema:
    """Return a reference to one of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(items: Schema) -> Schema:
    """Return an array of any length."""
    return {"type": "array", "items": items}


def pair(*kinds: Schema) -> Schema:
    """Return an array of a time, or of what else `kinds` allow, with a value."""
    return {"type": "array", "items": {"oneOf": list(kinds)}, "minItems": 2, "maxItems": 2}


def mapped(values: Schema, about: str = "") -> Schema:
    """Return an object with any names."""
    return {"type": "object", "additionalProperties": values} | ({"description": about} if about else {})


def record(about: str, /, **members: Schema) -> Schema:
    """Return an object; a name that ends with ``_maybe`` may be missing."""
    return shaped(about, {name.replace("_maybe", "?"): member for name, member in members.items()})


def shaped(about: str, members: Schema) -> Schema:
    """Return an object; a name that ends with ``?`` may be missing."""
    required = [name for name in members if not name.endswith("?")]
    return {
        "type": "object",
        "description": about,
        "properties": {name.removesuffix("?"): member for name, member in members.items()},
        "additionalProperties": False,
    } | ({"required": required} if required else {})


def envelope(about: str, data: Schema | None) -> Schema:
    """Return what stands around data, which an answer without any lacks."""
    status = {"type": "string", "enum": ["success", "error"]}
    own = {} if data is None else {"data": data}
    return shaped(about, {"status": status, **own, "warnings?": STRINGS, "infos?": STRINGS})


def _result(kind: str, result: Schema) -> Schema:
    about = f"What an expression of type {kind} yields."
    return shaped(
        about, {"resultType": {"type": "string", "const": kind}, "result": result, "stats?": ref("QueryStats")}
    )


_VALUE = pair(NUMBER, STRING)
_HISTOGRAM = pair(NUMBER, ref("HistogramValue"))
_STEPS = listed({"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2})
_BUCKET = {"type": "array", "items": {"oneOf": [NUMBER, STRING]}, "minItems": 4, "maxItems": 4}

DATA: dict[str, Schema] = {
    "Labels": mapped(ANYTHING, "Labels of a series or a target: values by name."),
    "QueryData": {
        "description": "What a query yields, by its type.",
        "anyOf": [
            _result("vector", listed({"anyOf": [ref("FloatSample"), ref("HistogramSample")]})),
            _result("matrix", listed({"anyOf": [ref("FloatSeries"), ref("HistogramSeries")]})),
            _result("scalar", _VALUE),
            _result("string", _VALUE),
        ],
    },
    "QueryStats": shaped(
        "How long a query took and how much it read, where stats are asked for.",
        {
            "timings?": shaped(
                "Seconds by phase.",
                dict.fromkeys(
                    ("evalTotalTime?", "resultSortTime?", "queryPreparationTime?", "innerEvalTime?", "execQueueTime?",
                     "execTotalTime?"),
                    NUMBER,
                ),
            ),
            "samples?": shaped(
                "Samples that the query went through.",
                {
                    "totalQueryableSamples?": INTEGER, "peakSamples?": INTEGER, "totalQueryableSamplesPerStep?": _STEPS,
                    "samplesRead?": INTEGER, "samplesReadPerStep?": _STEPS,
                },
            ),
        },
    ),
    "FloatSample": record("A number at one time.", metric=ref("Labels"), value=_VALUE),
    "HistogramSample": record("A native histogram at one time.", metric=ref("Labels"), histogram=_HISTOGRAM),
    "FloatSeries": record(
        "Numbers of one series, in order of time; histograms as well where it has both.",
        metric=ref("Labels"), values=listed(_VALUE), histograms_maybe=listed(_HISTOGRAM),
    ),
    "HistogramSeries": record(
        "Native histograms of one series, in order of time.", metric=ref("Labels"), histograms=listed(_HISTOGRAM)
    ),
    "HistogramValue": record(
        "A native histogram; a bucket is its boundary rule, lower and upper bound, and count.",
        count=STRING, sum=STRING, buckets_maybe=listed(_BUCKET),
    ),
    "Exemplar": record("A value that stands for others.", labels=ref("Labels"), value=STRING, timestamp=NUMBER),
    "SeriesExemplars": record(
        "Exemplars of one series.", seriesLabels=ref("Labels"), exemplars=listed(ref("Exemplar"))
    ),
    "Metadata": record("What a source says about a metric family.", type=STRING, unit=STRING, help=STRING),
    "MetricMetadata": record(
        "What a target says about a metric family.",
        target=ref("Labels"), metric_maybe=STRING, type=STRING, help=STRING, unit=STRING,
    ),
    "Target": record(
        "A target that is scraped, and how that went last.",
        discoveredLabels=ref("Labels"), labels=ref("Labels"), scrapePool=STRING, scrapeUrl=STRING, globalUrl=STRING,
        lastError=STRING, lastScrape=MOMENT, lastScrapeDuration={"type": "number", "format": "double"}, health=STRING,
        scrapeInterval=STRING, scrapeTimeout=STRING,
    ),
    "DroppedTarget": record(
        "A target that relabelling dropped.", discoveredLabels=ref("Labels"), scrapePool=STRING
    ),
    "TargetDiscovery": record(
        "All targets.",
        activeTargets=listed(ref("Target")), droppedTargets=listed(ref("DroppedTarget")),
        droppedTargetCounts={"anyOf": [mapped(INTEGER), {"type": "null"}]},
    ),
    "ScrapePoolsDiscovery": record("Names of scrape jobs.", scrapePools=STRINGS),
    "ScrapePoolConfigData": record("Settings of a scrape job.", yaml=STRING),
    "Config": record(
        "A relabelling rule.",
        source_labels_maybe=STRINGS, separator_maybe=STRING, regex_maybe=STRING, modulus_maybe=INTEGER,
        target_label_maybe=STRING, replacement_maybe=STRING, action_maybe=STRING,
    ),
    "RelabelStep": record(
        "A rule with the labels after it.", rule=ref("Config"), output=ref("Labels"), keep=BOOLEAN
    ),
    "RelabelStepsResponse": record("All rules of a job in turn.", steps=listed(ref("RelabelStep"))),
    "RuleGroup": record(
        "Rules that are evaluated together.",
        name=STRING, file=STRING, rules=listed(mapped(ANYTHING)), interval={"type": "number", "format": "double"},
        limit=INTEGER, evaluationTime={"type": "number", "format": "double"}, lastEvaluation=MOMENT,
    ),
    "RuleDiscovery": record("Groups of rules.", groups=listed(ref("RuleGroup")), groupNextToken_maybe=STRING),
    "Alert": record(
        "An alert that is pending or firing.",
        labels=ref("Labels"), annotations=ref("Labels"), state=STRING, value=STRING, activeAt_maybe=MOMENT,
        keepFiringSince_maybe=MOMENT,
    ),
    "AlertDiscovery": record("Alerts.", alerts=listed(ref("Alert"))),
    "AlertmanagerTarget": record("An Alertmanager.", url=STRING),
    "AlertmanagerDiscovery": record(
        "Who is sent alerts.",
        activeAlertmanagers=listed(ref("AlertmanagerTarget")), droppedAlertmanagers=listed(ref("AlertmanagerTarget")),
    ),
    "StatusConfigData": record("The configuration in force.", yaml=STRING),
    "RuntimeInfo": record(
        "Facts about the process.",
        startTime=MOMENT, CWD=STRING, hostname=STRING, serverTime=MOMENT, reloadConfigSuccess=BOOLEAN,
        lastConfigTime=MOMENT, corruptionCount=INTEGER, goroutineCount=INTEGER, GOMAXPROCS=INTEGER, GOMEMLIMIT=INTEGER,
        GOGC=STRING, GODEBUG=STRING, storageRetention=STRING,
    ),
    "PrometheusVersion": record(
        "Versions.",
        version=STRING, revision=STRING, branch=STRING, buildUser=STRING, buildDate=STRING, goVersion=STRING,
    ),
    "HeadStats": record(
        "What is in memory.",
        numSeries=INTEGER, numLabelPairs=INTEGER, chunkCount=INTEGER, minTime=INTEGER, maxTime=INTEGER,
    ),
    "TSDBStat": record("A name with a count.", name=STRING, value=INTEGER),
    "TSDBStatus": record(
        "What series are made of.",
        headStats=ref("HeadStats"), seriesCountByMetricName=listed(ref("TSDBStat")),
        labelValueCountByLabelName=listed(ref("TSDBStat")), memoryInBytesByLabelName=listed(ref("TSDBStat")),
        seriesCountByLabelValuePair=listed(ref("TSDBStat")),
    ),
    "BlockDesc": record("A block that went into another one.", ulid=STRING, minTime=INTEGER, maxTime=INTEGER),
    "BlockStats": record(
        "Counts of a block.",
        numSamples_maybe=INTEGER, numSeries_maybe=INTEGER, numChunks_maybe=INTEGER, numTombstones_maybe=INTEGER,
        numFloatSamples_maybe=INTEGER, numHistogramSamples_maybe=INTEGER,
    ),
    "BlockMetaCompaction": record(
        "What a block was made of.",
        level=INTEGER, sources_maybe=STRINGS, parents_maybe=listed(ref("BlockDesc")), failed_maybe=BOOLEAN,
        deletable_maybe=BOOLEAN, hints_maybe=STRINGS,
    ),
    "BlockMeta": record(
        "A block on disk.",
        ulid=STRING, minTime=INTEGER, maxTime=INTEGER, stats_maybe=ref("BlockStats"),
        compaction=ref("BlockMetaCompaction"), version=INTEGER,
    ),
    "StatusTSDBBlocksData": record("Blocks on disk.", blocks=listed(ref("BlockMeta"))),
    "StatusWALReplayData": record(
        "How far reading the log has come, in segments.", min=INTEGER, max=INTEGER, current=INTEGER
    ),
    "SelfMetric": record(
        "One of the daemon's own metric families.",
        name=STRING, help=STRING, type=STRING, metric=listed(mapped(ANYTHING)),
    ),
    "DataStruct": record("A snapshot.", name=STRING),
    "Notification": record("What an administrator should know.", text=STRING, date=MOMENT, active=BOOLEAN),
}  # fmt: skip
"""What stands under ``data``, and its parts."""

ERROR = record(
    "Why a request could not be answered.",
    status={"type": "string", "enum": ["success", "error"]}, errorType=STRING, error=STRING,
)  # fmt: skip

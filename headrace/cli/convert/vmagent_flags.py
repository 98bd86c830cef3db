"""Flags of vmagent, with what each takes.

Source:
    VictoriaMetrics, "vmagent", "List of command-line flags".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline.config import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a flag takes.

    Attributes:
        check: Raises a ValueError where a value is wrong.
        many: It may be repeated, and hold commas; empty values are the default.
        alone: It may stand without a value, for ``true``.
    """

    check: Callable[[str], object]
    many: bool = False
    alone: bool = False


def is_true(text: str) -> bool:
    """Read a truth value.

    Raises:
        ValueError: It is none.
    """
    if text not in _TRUE | _FALSE:
        raise ValueError(f"must be true or false, got {text!r}")
    return text in _TRUE


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"must be a whole number, got {text[:40]!r}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"must be a number, got {text[:40]!r}") from None


def _size(text: str) -> int:
    return _integer(text) if text.removeprefix("-").isdecimal() else parse_size(text)


_TEXT = """
    configAuthKey envflag.prefix flagsAuthKey gcp.pubsub.publish.credentialsFile
    gcp.pubsub.subscribe.credentialsFile gcp.pubsub.subscribe.defaultMessageFormat graphiteListenAddr
    http.header.csp http.header.frameOptions http.header.hsts http.pathPrefix httpAuth.password httpAuth.username
    influxDBLabel influxListenAddr influxMeasurementFieldSeparator kafka.consumer.topic.defaultFormat license
    licenseFile loggerFormat loggerJSONFields loggerLevel loggerOutput loggerTimezone metricsAuthKey
    opentsdbHTTPListenAddr opentsdbListenAddr pprofAuthKey promscrape.cluster.memberLabel
    promscrape.cluster.memberNum promscrape.cluster.memberURLTemplate promscrape.cluster.name promscrape.config
    reloadAuthKey remoteWrite.relabelConfig remoteWrite.tmpDataPath streamAggr.config tlsAutocertCacheDir
    tlsAutocertEmail zabbixconnector.addDuplicateTagsSeparator zabbixconnector.addEmptyTagsValue
    zabbixconnector.addGroupsValue
"""

_TEXTS = """
    gcp.pubsub.subscribe.topicSubscription gcp.pubsub.subscribe.topicSubscription.messageFormat httpListenAddr
    influx.databaseNames kafka.consumer.topic kafka.consumer.topic.basicAuth.password
    kafka.consumer.topic.basicAuth.username kafka.consumer.topic.brokers kafka.consumer.topic.format
    kafka.consumer.topic.groupID kafka.consumer.topic.options mtlsCAFile opentelemetry.ignoreResourceAttributes
    opentelemetry.promoteResourceAttributes promscrape.cluster.shardByLabels pushmetrics.extraLabel
    pushmetrics.header pushmetrics.url remoteWrite.aws.accessKey remoteWrite.aws.ec2Endpoint remoteWrite.aws.region
    remoteWrite.aws.roleARN remoteWrite.aws.secretKey remoteWrite.aws.service remoteWrite.aws.stsEndpoint
    remoteWrite.basicAuth.password remoteWrite.basicAuth.passwordFile remoteWrite.basicAuth.username
    remoteWrite.basicAuth.usernameFile remoteWrite.bearerToken remoteWrite.bearerTokenFile remoteWrite.headers
    remoteWrite.label remoteWrite.oauth2.clientID remoteWrite.oauth2.clientSecret
    remoteWrite.oauth2.clientSecretFile remoteWrite.oauth2.endpointParams remoteWrite.oauth2.scopes
    remoteWrite.oauth2.tokenUrl remoteWrite.proxyURL remoteWrite.shardByURL.ignoreLabels
    remoteWrite.shardByURL.labels remoteWrite.streamAggr.config remoteWrite.streamAggr.dropInputLabels
    remoteWrite.tlsCAFile remoteWrite.tlsCertFile remoteWrite.tlsKeyFile remoteWrite.tlsServerName remoteWrite.url
    remoteWrite.urlRelabelConfig secret.flags streamAggr.dropInputLabels tlsAutocertHosts tlsCertFile
    tlsCipherSuites tlsKeyFile tlsMinVersion
"""

_SWITCH = """
    datadog.sanitizeMetricName denyQueryTracing dryRun enableMetadata enableMultitenancyViaHeaders
    enableMultitenantHandlers enableTCP6 envflag.enable eula filestream.disableFadvise fs.disableMincore
    fs.disableMmap graphite.sanitizeMetricName graphiteListenAddr.useProxyProtocol http.disableCORS
    http.disableKeepAlive http.disableResponseCompression http.header.disableServerHostname influx.forceStreamMode
    influxListenAddr.useProxyProtocol influxSkipMeasurement influxSkipSingleField internStringDisableCache
    license.forceOffline loggerDisableTimestamps mdx.label metrics.exposeMetadata
    opentelemetry.convertMetricNamesToPrometheus opentelemetry.labelNameUnderscoreSanitization
    opentelemetry.promoteAllResourceAttributes opentelemetry.promoteScopeMetadata opentelemetry.usePrometheusNaming
    opentsdbHTTPListenAddr.useProxyProtocol opentsdbListenAddr.useProxyProtocol promscrape.config.dryRun
    promscrape.config.strictParse promscrape.disableCompression promscrape.disableKeepAlive
    promscrape.dropOriginalLabels promscrape.kubernetes.attachNamespaceMetadataAll
    promscrape.kubernetes.attachNodeMetadataAll promscrape.kubernetes.useHTTP2Client promscrape.noStaleMarkers
    promscrape.streamParse promscrape.suppressDuplicateScrapeTargetErrors promscrape.suppressScrapeErrors
    pushmetrics.disableCompression remoteWrite.dropSamplesOnOverload remoteWrite.keepDanglingQueues
    remoteWrite.obfuscateLabels remoteWrite.shardByURL remoteWrite.showURL sortLabels streamAggr.dropInput
    streamAggr.enableWindows streamAggr.ignoreOldSamples streamAggr.keepInput usePromCompatibleNaming version
"""

_SWITCHES = """
    gcp.pubsub.subscribe.topicSubscription.isGzipped httpListenAddr.useProxyProtocol kafka.consumer.topic.isGzipped
    mtls remoteWrite.aws.useSigv4 remoteWrite.disableMetadata remoteWrite.disableOnDiskQueue
    remoteWrite.forcePromProto remoteWrite.forceVMProto remoteWrite.mdx.enable remoteWrite.streamAggr.dropInput
    remoteWrite.streamAggr.enableWindows remoteWrite.streamAggr.ignoreOldSamples remoteWrite.streamAggr.keepInput
    remoteWrite.tlsInsecureSkipVerify tls
"""

_INTEGER = """
    blockcache.missesBeforeCaching fs.maxConcurrency gcp.pubsub.publish.byteThreshold
    gcp.pubsub.publish.countThreshold gcp.pubsub.publish.maxOutstandingBytes
    gcp.pubsub.publish.maxOutstandingMessages internStringMaxLen loggerErrorsPerSecondLimit loggerMaxArgLen
    loggerWarnsPerSecondLimit maxConcurrentInserts maxIngestionRate maxLabelNameLen maxLabelValueLen
    maxLabelsPerTimeseries promscrape.cluster.membersCount promscrape.cluster.replicationFactor
    promscrape.discovery.concurrency promscrape.maxDroppedTargets promscrape.seriesLimitPerTarget
    remoteWrite.maxDailySeries remoteWrite.maxHourlySeries remoteWrite.maxMetadataPerBlock
    remoteWrite.maxRowsPerBlock remoteWrite.shardByURLReplicas remoteWrite.vmProtoCompressLevel
    streamAggr.ignoreFirstIntervals
"""

_INTEGERS = """
    gcp.pubsub.subscribe.topicSubscription.concurrency kafka.consumer.topic.concurrency remoteWrite.inmemoryQueues
    remoteWrite.queues remoteWrite.rateLimit remoteWrite.roundDigits remoteWrite.significantFigures
    remoteWrite.streamAggr.ignoreFirstIntervals
"""

_NUMBER = """
    memory.allowedPercent prevCacheRemovalPercent
"""

_DURATION = """
    cacheExpireDuration csvTrimTimestamp gcp.pubsub.publish.delayThreshold gcp.pubsub.publish.timeout
    graphiteTrimTimestamp http.connTimeout http.idleConnTimeout http.maxGracefulShutdownDuration http.shutdownDelay
    influxTrimTimestamp insert.maxQueueDuration internStringCacheExpireDuration licenseFile.reloadInterval
    opentsdbTrimTimestamp opentsdbhttpTrimTimestamp promscrape.azureSDCheckInterval promscrape.configCheckInterval
    promscrape.consul.waitTime promscrape.consulSDCheckInterval promscrape.consulagentSDCheckInterval
    promscrape.digitaloceanSDCheckInterval promscrape.discovery.concurrentWaitTime promscrape.dnsSDCheckInterval
    promscrape.dockerSDCheckInterval promscrape.dockerswarmSDCheckInterval promscrape.ec2SDCheckInterval
    promscrape.eurekaSDCheckInterval promscrape.fileSDCheckInterval promscrape.gceSDCheckInterval
    promscrape.hetznerSDCheckInterval promscrape.httpSDCheckInterval promscrape.kubernetes.apiServerTimeout
    promscrape.kubernetesSDCheckInterval promscrape.kumaSDCheckInterval promscrape.linodeSDCheckInterval
    promscrape.marathonSDCheckInterval promscrape.nomad.waitTime promscrape.nomadSDCheckInterval
    promscrape.openstackSDCheckInterval promscrape.ovhcloudSDCheckInterval promscrape.puppetdbSDCheckInterval
    promscrape.suppressScrapeErrorsDelay promscrape.vultrSDCheckInterval promscrape.yandexcloudSDCheckInterval
    pushmetrics.interval remoteWrite.flushInterval streamAggr.dedupInterval
"""

_DURATIONS = """
    remoteWrite.retryMaxInterval remoteWrite.retryMaxTime remoteWrite.retryMinInterval remoteWrite.sendTimeout
    remoteWrite.streamAggr.dedupInterval remoteWrite.tlsHandshakeTimeout
"""

_SIZE = """
    datadog.maxInsertRequestSize import.maxLineLen influx.maxLineSize influx.maxRequestSize maxInsertRequestSize
    memory.allowedBytes newrelic.maxInsertRequestSize opentelemetry.maxRequestSize opentsdbhttp.maxInsertRequestSize
    promscrape.maxResponseHeadersSize promscrape.maxScrapeSize promscrape.minResponseSizeForStreamParse
    remoteWrite.maxBlockSize zabbixconnector.maxLineLen
"""

_SIZES = """
    remoteWrite.maxDiskUsagePerURL
"""

FLAGS = {
    name: kind
    for names, kind in (
        (_TEXT, Kind(str)),
        (_TEXTS, Kind(str, many=True)),
        (_SWITCH, Kind(is_true, alone=True)),
        (_SWITCHES, Kind(is_true, many=True, alone=True)),
        (_INTEGER, Kind(_integer)),
        (_INTEGERS, Kind(_integer, many=True)),
        (_NUMBER, Kind(_number)),
        (_DURATION, Kind(parse_duration)),
        (_DURATIONS, Kind(parse_duration, many=True)),
        (_SIZE, Kind(_size)),
        (_SIZES, Kind(_size, many=True)),
    )
    for name in names.split()
}
"""Flags by name."""

// Measures and exports as an application does, with OpenTelemetry's SDK; measure.py does the same in Python.
//
// Usage: node measure.mjs grpc|protobuf|json URL cumulative|delta SERVICE

import { AggregationTemporalityPreference } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as GrpcExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtobufExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AggregationType, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';

const [, , protocol, url, temporality, service] = process.argv;
const Exporter = { grpc: GrpcExporter, protobuf: ProtobufExporter, json: JsonExporter }[protocol];
const { DELTA, CUMULATIVE } = AggregationTemporalityPreference;
const exporter = new Exporter({ url, temporalityPreference: temporality === 'delta' ? DELTA : CUMULATIVE });
const exported = [];
const send = exporter.export.bind(exporter);
exporter.export = (metrics, done) => send(metrics, (result) => (exported.push(result), done(result)));

const provider = new MeterProvider({
  resource: resourceFromAttributes({
    'service.name': service,
    'service.namespace': 'shop',
    'service.instance.id': 'one',
    'deployment.environment.name': 'test',
    'host.cpu.count': 8,
    'host.names': ['a', 'b'],
  }),
  readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })],
  views: [
    { instrumentName: 'size', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM, options: { maxSize: 20 } } },
  ],
});
const meter = provider.getMeter('shop.web', '1.2', { schemaUrl: 'https://example.com/schema' });

const requests = meter.createCounter('http.requests', { unit: '{request}', description: 'Requests.' });
const payload = meter.createCounter('payload', { unit: 'By' });
const jobs = meter.createUpDownCounter('jobs');
const ratio = meter.createGauge('load', { unit: '1', description: 'How busy it is.' });
const advice = { explicitBucketBoundaries: [0.25, 0.5, 1, 5] };
const latency = meter.createHistogram('latency', { unit: 's', advice });
const size = meter.createHistogram('size', { unit: 'By' });
let seen = 0;
const observe = (value) => (result) => {
  result.observe(value(), { zone: 'a' });
  result.observe(-2 * value(), { zone: 'b' });
};
meter.createObservableCounter('cpu.time', { unit: 's' }).addCallback((result) => result.observe(seen * 1.5, { zone: 'a' }));
meter.createObservableUpDownCounter('queue.length').addCallback(observe(() => seen));
meter.createObservableGauge('temperature', { unit: 'Cel' }).addCallback(observe(() => 20.5 + seen));

for (let round = 0; round < 3; round++) {
  seen++;
  for (let i = 0; i < 5; i++) {
    requests.add(2, { 'http.request.method': 'GET', status: 200, ok: true });
    payload.add(i + 0.5);
    jobs.add(i % 2 ? 3 : -1, { kind: 'mail' });
    latency.record(i * 0.25, { 'http.request.method': 'GET' });
    size.record(2 ** i);
  }
  size.record(0);
  ratio.record(0.25 * (round + 1));
  await provider.forceFlush();
}
await provider.shutdown();
process.stdout.write(JSON.stringify(exported));

"""Differential testing of PromQL against a real Prometheus: `make fuzz-promql`.

Random expressions over random series are asked of both; whatever differs, save what changed on purpose between the
peer's version and the one that is followed, is shrunk and written as a test script.
"""

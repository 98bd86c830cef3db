"""Public test kit: contracts that every component and codec is tested by.

Foreign plugins use the same: ``class TestContract(ProcessorContract): factory = FACTORY``.
"""

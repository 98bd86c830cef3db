"""PromQL: lexer, parser, planner, vectorised evaluator, functions."""

"""The language: lexer, parser, syntax tree, printer."""

"""LLM app bundles that ship with capi-llm: one folder each, read as package data."""

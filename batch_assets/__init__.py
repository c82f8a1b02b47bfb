"""Rows through LLM batch APIs, as Dagster assets."""

"""ClusterClasses that ship with capi-llm: one folder each, read as package data.

A folder holds ``class.yaml`` (the ClusterClass and every template that it
refers to) and a README.md that says what it is for.
"""

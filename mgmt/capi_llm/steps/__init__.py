"""What is installed, one module per thing, and the engine that brings it about.

A *step* has a name, the names of the steps it needs, a probe, an apply and a remove.
Its probe alone decides whether it is there: the same function skips a step that is done,
waits for one under way, fills ``status`` and words the timeout. Nothing is remembered
between runs, so that any run may be killed at any point and started again.
"""

"""capi-llm: self-scaling LLM clusters on Cluster API, by one command.

The way through the package, from the top down::

    cli        click commands: flags in, one call, output and exit code out
    plane      the management planes and their recipes, on one screen
    steps      one module per thing installed, and the engine that runs them
    clusters   workload clusters: spec, topology, status tree, kubeconfig, delete
    sandbox    a management plane of real processes on loopback, no Docker needed
    tools      where the executables come from
    kube       the Kubernetes API: requests, apply, informer, waits
    shell http the only ways to other processes and to the web
    contract   what an object's status means
    waiting    one way to wait, for everything
    identity   which planes there are      locks   who works on them
    settings   what capi-llm is told: capi-llm.yaml, .env, the environment
    fields     one value at a time: is it well formed      documents  YAML with its lines
    files      private files      versions   every pin      errors   every way to fail

A layer imports only from layers below it; ``tests/test_layering.py`` says so.
"""

"""The real LiteLLM behind the simulated LiteLLM pods of a KWOK workload cluster.

A part of each cluster's supervisor where LiteLLM is installed (``pip install 'capi-llm[gateway]'``):
it watches the Deployment ``llm/litellm``, its ConfigMap and its Secret, and runs LiteLLM on loopback with
them. KWOK leads what is forwarded to port 4000 of a pod in ``llm`` there (``sandbox/configuration``).

The cluster's configuration decides which models there are, their weights, the routing and the key. What
the models answer is simulated, a fixed sentence that says so, but for models served on this machine's
loopback. Nothing leaves this machine.

    model       from objects of the cluster to LiteLLM's configuration; pure
    runner      LiteLLM as a child process, started again when that changes
    server      that child: LiteLLM, and the thread that ends it with its parent
"""

"""The end-to-end run: capi-llm's plane of kind `kind` on a real Docker engine, without any image registry.

Two halves. With the network: everything that containers are made of is built from Go modules
and Debian packages and cached by content (`binaries`, `rootfs`, `images`, `node`). Without: a
Docker engine of the run's own in namespaces of its own (`engine`), and on it what users type
(`scenario`). Which images stand in for another program of that name: docs/e2e.md.
"""

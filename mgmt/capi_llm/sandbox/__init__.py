"""A management plane without Docker, accounts or root: real processes on loopback.

Real etcd, kube-apiserver, kube-controller-manager, kube-scheduler and the real Cluster
API managers run as ordinary processes under one detached supervisor. What is simulated
is what would need containers: machines (the in-memory backend of Cluster API's dev
provider) and pods (KWOK).

Everything of one sandbox lives in one folder and listens on loopback ports that were
assigned to it. Its processes carry a random word in their environment, so that they are
recognised without trusting a pid file: ``processes`` never signals by number alone.

    layout      where its files are            ports       which ports it was given
    pki         its authorities, certificates  parts       the command line of each process
    supervisor  starts, restarts, stops them   processes   finds them when the supervisor died
    components  Cluster API's manifests, with webhooks that point at processes
"""

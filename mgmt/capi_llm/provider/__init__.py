"""The KWOK provider: workload clusters that are real control planes with simulated nodes.

An infrastructure and control-plane provider for Cluster API, contract v1beta1
(https://github.com/kubernetes-sigs/cluster-api/tree/v1.10.7/docs/book/src/developer/providers/contracts),
and a process of the sandbox. Its three kinds:

    KwokCluster        reserves the ports of the control plane; ready after the control plane
    KwokControlPlane   etcd, API server, controller manager, scheduler and KWOK as processes
                       of a supervisor of their own; publishes kubeconfig and authority
    KwokMachine        a Node in the workload cluster, with the capacity that the class says

The infrastructure is ready last, as Cluster API turns to the API server at once then and
tries again only much later. The parts:

    kinds          kinds, and the Node of a machine       manifests      their CRDs, and RBAC
    queue          what is to be looked at, and when      world          what is known, what is written
    cluster        control_plane       machine            one reconciler for each kind
    startup        brings a control plane up, step by step
    loop           from changes to looks                  readiness      answers the sandbox's health check

A reconciler looks at the state and does the next step, however it was woken: there are no
events to be lost. A process that died makes none, so control planes are looked at every
few seconds. Everything it remembers is in the API server and in the cluster's folder; it
may be killed at any point.
"""

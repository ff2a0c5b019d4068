"""What an object's status means: pure functions from an object to a Status.

The only place that reads raw ``status`` fields. Cluster API has two dialects of status,
and both are read: the new one (conditions such as ``Available``, kept under
``status.v1beta2`` by API version v1beta1 and in ``status`` by v1beta2), and the old one
(``Ready``) where nothing else is there.

A function here looks at one object and nothing else; what several objects mean together
is for :mod:`capi_llm.clusters`.
"""

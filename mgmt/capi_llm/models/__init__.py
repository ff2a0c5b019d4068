"""Models behind the gateway: whether they answer, and whether they fit a GPU.

    gateway_address  where it is, and its key
    gateway_answers  what comes back, and how asking fails
    gateway_client   an OpenAI-compatible API: model list, completions, streams
    smoke            checks with a verdict each: tokens come out, or what is wrong
    smoke_load       the same with many at a time: percentiles
    chat             one conversation
    gpus             the one table of GPUs
    fit              weights, KV cache and overhead against a GPU's memory: a verdict with numbers
    fit_config       a model's config.json as an Architecture
    fit_parameters   its parameters, part by part
    fit_precision    what a parameter takes
    fit_advice       settings with which a deployment would fit
    fit_source       where a config.json comes from
    fit_known        configurations that are shipped

The gateway is asked at a URL; opening the way to it (port-forward) is the command line's matter.
"""

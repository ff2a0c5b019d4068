"""Models behind the gateway: where they are served, whether they answer, fit, and who may ask.

    defaults         the models that are there without anybody saying so
    litellm          models as LiteLLM's model_list and router_settings
    serving          models as servers in the cluster, and as what Ollama pulls at the start
    apps             both, as values of bundles: what the apps of a cluster are to be
    env_file         the upstreams and routes of an older gateway
    editing          ``models:`` of capi-llm.yaml, changed without touching what else is in the file
    routes           weights: another split, promotion, rollback
    split            which backend answered how often, with its confidence interval
    keys             keys of clients, through LiteLLM's own API
    pulling          a model brought into a running Ollama
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

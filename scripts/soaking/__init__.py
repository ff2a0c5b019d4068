"""The series of scripts/soak: sandboxes that are killed at, starved and stopped, and what must be true after.

life      one sandbox in a folder of its own, what must be true of it, and what must be left of it
decoys    foreign processes that look like the sandbox's own and must outlive it
kills     the command line is killed
parts     the sandbox's processes are killed or stopped while a command waits
machine   the disk is full, the clock is wrong
pairs     two KWOK clusters at once

fleet         a real Fleet delivers to two KWOK clusters
fleet_states  how each of its states is brought about
real_fleet    its processes

gateway        two real LiteLLM processes behind one address, with Redis and PostgreSQL
gateway_parts  these processes
one_address    what stands before them, as a Service does
openwebui      a real Open WebUI on a real LiteLLM, in a browser
ollama         a real Ollama behind a sandbox's gateway
tiny_model     its model, of random numbers
"""

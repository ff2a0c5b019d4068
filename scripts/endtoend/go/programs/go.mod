module capi-llm.dev/endtoend

go 1.24

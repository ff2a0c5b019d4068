{{- define "litellm-config.url" -}}
{{- $host := printf "ollama.%s.svc.cluster.local" .Release.Namespace -}}
{{- /* Behind Knative it is the router that answers, on port 80. */ -}}
{{- $port := eq .Values.serving "knative" | ternary "80" "11434" -}}
{{ .Values.ollamaUrl | default (printf "http://%s:%s" $host $port) }}
{{- end }}

{{- /* LiteLLM looks at the first healthy entry of a name to see whether weights count; an entry
       without one is then never chosen. So all entries of a name have a weight, or none has. */}}
{{- define "litellm-config.check-weights" -}}
{{- $weighted := dict -}}
{{- range .Values.models -}}
{{- $has := hasKey .litellm_params "weight" | ternary "all" "none" -}}
{{- if ne (get $weighted .model_name | default $has) $has -}}
{{- fail (printf "models: some entries of %s have a weight and some have none; give each of them one" .model_name) -}}
{{- end -}}
{{- $_ := set $weighted .model_name $has -}}
{{- end -}}
{{- end }}

{{- define "litellm-config.models" -}}
{{- $url := include "litellm-config.url" . -}}
{{- $models := list -}}
{{- range .Values.models -}}
{{- $entry := deepCopy . -}}
{{- $params := $entry.litellm_params -}}
{{- if and (regexMatch "^ollama(_chat)?/" $params.model) (not (hasKey $params "api_base")) -}}
{{- $_ := set $params "api_base" $url -}}
{{- end -}}
{{- $models = append $models $entry -}}
{{- end -}}
{{- with .Values.openai -}}
{{- if .enabled -}}
{{- $name := printf "openai/%s" .model -}}
{{- $models = append $models (dict "model_name" $name "litellm_params" (dict "model" $name "api_key" "os.environ/OPENAI_API_KEY")) -}}
{{- end -}}
{{- end -}}
{{- toYaml $models -}}
{{- end }}

{{- define "litellm-config.config" -}}
model_list:
  {{- include "litellm-config.models" . | nindent 2 }}
{{- with .Values.routing }}
router_settings:
  routing_strategy: {{ .strategy }}
  num_retries: {{ .retries }}
  timeout: {{ .timeoutSeconds }}
  allowed_fails: {{ .allowedFails }}
  cooldown_time: {{ .cooldownSeconds }}
  {{- if .contextChecks }}
  enable_pre_call_checks: true
  {{- end }}
  {{- if .limits }}
  optional_pre_call_checks:
    - enforce_model_rate_limits
  {{- end }}
  {{- with .aliases }}
  model_group_alias:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .fallbacks }}
  fallbacks:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- with $.Values.redis }}
{{- if .enabled }}
  # Counters of limits and cooldowns are shared by all pods. Answers are not stored.
  redis_host: {{ .host }}
  redis_port: {{ .port }}
  redis_password: os.environ/REDIS_PASSWORD
{{- end }}
{{- end }}
{{- end }}
litellm_settings:
  {{- if .Values.redis.enabled }}
  # A key that is revoked at one pod is so at all of them.
  enable_redis_auth_cache: true
  {{- end }}
  request_timeout: {{ .Values.requestTimeoutSeconds }}
  drop_params: {{ .Values.dropParams }}
  json_logs: {{ .Values.jsonLogs }}
  telemetry: false
  callbacks:
    - hooks.handler
general_settings:
  # From the Secret that the litellm bundle names. Without a key LiteLLM would serve anybody.
  master_key: os.environ/LITELLM_MASTER_KEY
  {{- with .Values.redis }}
  {{- if .enabled }}
  coordination_redis:
    host: {{ .host }}
    port: {{ .port }}
    password: os.environ/REDIS_PASSWORD
  {{- end }}
  {{- end }}
{{- end }}

{{- define "local-path-storage.selector" -}}
app.kubernetes.io/name: local-path-storage
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "local-path-storage.labels" -}}
{{ include "local-path-storage.selector" . }}
app.kubernetes.io/part-of: capi-llm
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "local-path-storage.image" -}}
{{ .repository }}{{ with .tag }}:{{ . }}{{ end }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}

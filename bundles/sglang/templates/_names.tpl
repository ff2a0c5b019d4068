{{- define "sglang.labels" -}}
app.kubernetes.io/name: sglang
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: capi-llm
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "sglang.selector" -}}
app.kubernetes.io/name: sglang
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sglang.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "openwebui.selector" -}}
app.kubernetes.io/name: openwebui
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "openwebui.labels" -}}
{{ include "openwebui.selector" . }}
app.kubernetes.io/part-of: capi-llm
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "openwebui.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "openwebui.claim" -}}
{{ .Values.storage.existingClaim | default "openwebui-data" }}
{{- end }}

{{- /* Open WebUI reads True and False. */}}
{{- define "openwebui.switch" -}}
{{ . | ternary "True" "False" | quote }}
{{- end }}

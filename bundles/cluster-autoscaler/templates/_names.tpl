{{- define "cluster-autoscaler.cluster" -}}
{{ required "clusterName: the name of the Cluster is missing" .Values.clusterName }}
{{- end }}

{{- define "cluster-autoscaler.namespace" -}}
{{ .Values.clusterNamespace | default .Release.Namespace }}
{{- end }}

{{- define "cluster-autoscaler.name" -}}
{{ include "cluster-autoscaler.cluster" . }}-cluster-autoscaler
{{- end }}

{{- define "cluster-autoscaler.selector" -}}
app.kubernetes.io/name: cluster-autoscaler
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cluster-autoscaler.labels" -}}
{{ include "cluster-autoscaler.selector" . }}
app.kubernetes.io/part-of: capi-llm
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "cluster-autoscaler.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

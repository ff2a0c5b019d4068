{{- define "ollama-startup-config.selector" -}}
app.kubernetes.io/name: ollama-startup-config
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ollama-startup-config.labels" -}}
{{ include "ollama-startup-config.selector" . }}
app.kubernetes.io/part-of: capi-llm
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "ollama-startup-config.url" -}}
{{- $host := printf "ollama.%s.svc.cluster.local" .Release.Namespace -}}
{{- /* Behind Knative it is the router that answers, on port 80. */ -}}
{{- $port := eq .Values.serving "knative" | ternary "80" "11434" -}}
{{ .Values.url | default (printf "http://%s:%s" $host $port) }}
{{- end }}

{{- define "ollama-startup-config.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "ollama-startup-config.job" -}}
backoffLimit: {{ .Values.retries }}
activeDeadlineSeconds: {{ .Values.deadlineSeconds }}
template:
  metadata:
    labels:
      {{- include "ollama-startup-config.selector" . | nindent 6 }}
  spec:
    restartPolicy: OnFailure
    automountServiceAccountToken: false
    enableServiceLinks: false
    {{- with .Values.imagePullSecrets }}
    imagePullSecrets:
      {{- range . }}
      - name: {{ . }}
      {{- end }}
    {{- end }}
    {{- with .Values.nodeSelector }}
    nodeSelector:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.tolerations }}
    tolerations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      runAsNonRoot: true
      runAsUser: 1000
      runAsGroup: 1000
      seccompProfile:
        type: RuntimeDefault
    containers:
      - name: pull
        image: {{ include "ollama-startup-config.image" . | quote }}
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        command:
          - /bin/sh
          - -eu
          - -c
          # A model that is there is not asked for again, so this also works without the registry.
          - |
            for model in "$@"; do
              if ollama show "$model" >/dev/null 2>&1; then
                echo "$model is there"
              else
                echo "pulling $model"
                ollama pull "$model"
              fi
            done
          - pull
        args:
          {{- toYaml .Values.models | nindent 10 }}
        env:
          - name: OLLAMA_HOST
            value: {{ include "ollama-startup-config.url" . | quote }}
          - name: HOME
            value: /tmp
        resources:
          {{- toYaml .Values.resources | nindent 10 }}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities:
            drop:
              - ALL
        volumeMounts:
          - name: tmp
            mountPath: /tmp
    volumes:
      - name: tmp
        emptyDir: {}
{{- end }}

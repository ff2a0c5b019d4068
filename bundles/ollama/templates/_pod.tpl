{{- /* The pod, of a Knative revision and of the Deployment: they differ in their probes' ports. */}}
{{- define "ollama.pod" -}}
{{- $knative := eq .Values.serving "knative" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  {{- if not $knative }}
  # Knative refuses it.
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
containers:
  - name: ollama
    image: {{ include "ollama.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    env:
      - name: OLLAMA_HOST
        value: "0.0.0.0:11434"
      - name: OLLAMA_MODELS
        value: /models
      # Its key is written there; no other part of the home folder is used.
      - name: HOME
        value: /home/ollama
      - name: OLLAMA_NO_CLOUD
        value: "1"
      {{- with .Values.server }}
      - name: OLLAMA_KEEP_ALIVE
        value: {{ .keepAlive | quote }}
      - name: OLLAMA_LOAD_TIMEOUT
        value: {{ .loadTimeout | quote }}
      - name: OLLAMA_NUM_PARALLEL
        value: {{ .parallel | quote }}
      - name: OLLAMA_MAX_QUEUE
        value: {{ .maxQueue | int64 | quote }}
      {{- with .maxLoadedModels }}
      - name: OLLAMA_MAX_LOADED_MODELS
        value: {{ . | quote }}
      {{- end }}
      {{- with .contextLength | int64 }}
      - name: OLLAMA_CONTEXT_LENGTH
        value: {{ . | quote }}
      {{- end }}
      {{- end }}
      {{- range $name, $value := .Values.env }}
      - name: {{ $name }}
        value: {{ $value | quote }}
      {{- end }}
    ports:
      - name: {{ $knative | ternary "http1" "http" }}
        containerPort: 11434
    # Ready means that the server answers, not that a model is there: see ollama-startup-config.
    startupProbe:
      httpGet:
        path: /api/version
        # Knative fills in the port of the other two, and gives this one another name.
        port: {{ $knative | ternary 11434 "http" }}
      periodSeconds: 2
      failureThreshold: 60
    livenessProbe:
      httpGet:
        path: /api/version
        {{- if not $knative }}
        port: http
        {{- end }}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    readinessProbe:
      httpGet:
        path: /api/version
        {{- if not $knative }}
        port: http
        {{- end }}
      periodSeconds: 5
      timeoutSeconds: 5
    resources:
      {{- $resources := deepCopy .Values.resources }}
      {{- if .Values.gpus }}
      {{- $_ := set $resources "limits" (merge (dict "nvidia.com/gpu" .Values.gpus) ($resources.limits | default dict)) }}
      {{- end }}
      {{- toYaml $resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop:
          - ALL
    volumeMounts:
      - name: models
        mountPath: /models
      - name: home
        mountPath: /home/ollama
      - name: tmp
        mountPath: /tmp
volumes:
  - name: models
    {{- if .Values.storage.enabled }}
    persistentVolumeClaim:
      claimName: {{ include "ollama.claim" . }}
    {{- else }}
    emptyDir: {}
    {{- end }}
  - name: home
    emptyDir: {}
  - name: tmp
    emptyDir: {}
{{- end }}

{{- define "waitpoint-exporter.name" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "waitpoint-exporter.selector" -}}
app.kubernetes.io/name: waitpoint-exporter
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "waitpoint-exporter.labels" -}}
{{ include "waitpoint-exporter.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "waitpoint-exporter.secret" -}}
{{- .Values.existingSecret | default (include "waitpoint-exporter.name" .) -}}
{{- end }}

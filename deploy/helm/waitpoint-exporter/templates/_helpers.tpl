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

{{- /*
A file of the chart. One that is missing or empty, as where a link was lost on the
way, would else render as rules or dashboards with nothing in them.
*/ -}}
{{- define "waitpoint-exporter.file" -}}
{{- .context.Files.Get (printf "files/%s" .name) | trim | required (printf "files/%s is missing or empty in this copy of the chart" .name) -}}
{{- end }}

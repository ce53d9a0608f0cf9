{{- define "waitpoint-exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "waitpoint-exporter.fullname" -}}
{{- $name := include "waitpoint-exporter.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "waitpoint-exporter.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end }}

{{- define "waitpoint-exporter.selector" -}}
app.kubernetes.io/name: {{ include "waitpoint-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "waitpoint-exporter.labels" -}}
{{ include "waitpoint-exporter.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /*
The metadata of an object. Its arguments: context, and of the object alone suffix
of the name, namespace, labels and annotations.
*/ -}}
{{- define "waitpoint-exporter.metadata" -}}
{{- /* Here, so that whichever template comes first says what is wrong. */ -}}
{{- include "waitpoint-exporter.check" .context -}}
{{- $own := .context.Values.commonAnnotations | default dict -}}
name: {{ include "waitpoint-exporter.fullname" .context }}{{ .suffix }}
namespace: {{ .namespace | default (include "waitpoint-exporter.namespace" .context) }}
labels:
  {{- /* Those of the chart last: selectors go by them. */}}
  {{- mergeOverwrite (deepCopy (.context.Values.commonLabels | default dict)) (.labels | default dict) (include "waitpoint-exporter.labels" .context | fromYaml) | toYaml | nindent 2 }}
{{- with mergeOverwrite (deepCopy $own) (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "waitpoint-exporter.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- $repository := .Values.image.repository | required "image.repository is not set: a chart from a checkout names no image. Set it to the one that you have pushed" -}}
{{- with $registry }}{{ . }}/{{ end }}{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end }}

{{- define "waitpoint-exporter.pullSecrets" -}}
{{- with concat (.Values.global.imagePullSecrets | default list) (.Values.imagePullSecrets | default list) | uniq }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "waitpoint-exporter.secret" -}}
{{- .Values.existingSecret | default (include "waitpoint-exporter.fullname" .) -}}
{{- end }}

{{- define "waitpoint-exporter.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "waitpoint-exporter.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- /* Not empty on OpenShift. */ -}}
{{- define "waitpoint-exporter.openshift" -}}
{{- if or (eq .Values.openshift "always") (and (eq .Values.openshift "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) }}yes{{ end -}}
{{- end }}

{{- define "waitpoint-exporter.podSecurityContext" -}}
{{- $fields := deepCopy (.Values.podSecurityContext | default dict) -}}
{{- if include "waitpoint-exporter.openshift" . }}{{ $fields = omit $fields "runAsUser" "runAsGroup" "fsGroup" }}{{ end -}}
{{- toYaml $fields -}}
{{- end }}

{{- /*
A file of the chart. One that is missing or empty, as where a link was lost on the
way, would else render as rules or dashboards with nothing in them.
*/ -}}
{{- define "waitpoint-exporter.file" -}}
{{- $text := .context.Files.Get (printf "files/%s" .name) -}}
{{- if not (trim $text) }}{{ fail (printf "files/%s is missing or empty in this copy of the chart" .name) }}{{ end -}}
{{- $text -}}
{{- end }}

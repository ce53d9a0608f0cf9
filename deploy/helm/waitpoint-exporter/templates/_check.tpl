{{- /* Fails on values that go together badly, and says which to change. */ -}}
{{- define "waitpoint-exporter.check" -}}
{{- if not (or .Values.demo .Values.existingConfigMap) -}}
{{- if not (kindIs "map" .Values.config) }}{{ fail "config is empty: it describes the environments, and without one there is nothing to watch. Set demo or existingConfigMap to do without" }}{{ end -}}
{{- if not .Values.config.environments }}{{ fail "config.environments is empty: name at least one environment" }}{{ end -}}
{{- end -}}

{{- range $arg := .Values.extraArgs -}}
{{- $flag := regexFind "^--?[^=]*" $arg -}}
{{- $name := regexReplaceAll "^--(no-)?" $flag "" -}}
{{- range list "trigger." "tokens." "tags." "refresh." "api." -}}
{{- if hasPrefix . $name }}{{ fail (printf "extraArgs: %s describes a single environment and does not go together with the configuration file: set it in config" $flag) }}{{ end -}}
{{- end -}}
{{- range $own, $value := dict "demo" "demo" "config.file" "config or existingConfigMap" "config.check" "" "web.listen-address" "web.port" "web.telemetry-path" "web.telemetryPath" "web.external-url" "web.externalURL" "web.route-prefix" "web.routePrefix" "web.config.file" "web.config, web.tlsSecret or web.existingSecret" "web.systemd-socket" "" "help" "" "version" "" -}}
{{- if eq $own $name }}{{ fail (printf "extraArgs: %s %s" $flag (ternary "does not suit a pod" (printf "leaves probes, service and scrape as they were: set %s" $value) (empty $value))) }}{{ end -}}
{{- end -}}
{{- end -}}

{{- range .Values.extraEnv -}}
{{- if has .name (list "TRIGGER_API_URL" "TRIGGER_PREVIEW_BRANCH" "TRIGGER_DASHBOARD_URL") }}{{ fail (printf "extraEnv: %s does not go together with the configuration file: set %s in config" .name (.name | trimPrefix "TRIGGER_" | lower)) }}{{ end -}}
{{- end -}}

{{- $web := include "waitpoint-exporter.web" . | fromYaml -}}
{{- if .Values.web.existingSecret -}}
{{- if .Values.web.config }}{{ fail "web.config and web.existingSecret are two web configuration files: set one" }}{{ end -}}
{{- if not .Values.web.scheme }}{{ fail "web.scheme is not set: what is in web.existingSecret cannot be seen from here, so say http or https" }}{{ end -}}
{{- end -}}
{{- if .Values.serviceMonitor.enabled -}}
{{- $extra := .Values.serviceMonitor.extraEndpoint | default dict -}}
{{- if and $web.users (not (or .Values.serviceMonitor.basicAuth .Values.serviceMonitor.authorization $extra.oauth2)) }}{{ fail "web.config asks for a user, so set serviceMonitor.basicAuth: else Prometheus is answered with 401" }}{{ end -}}
{{- if and $web.certificates (not .Values.serviceMonitor.tlsConfig) }}{{ fail "web.config asks for a client certificate, so set serviceMonitor.tlsConfig: else Prometheus cannot connect" }}{{ end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}{{ fail "ingress.hosts is empty: name at least one host" }}{{ end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}{{ fail "httpRoute.parentRefs is empty: name the Gateway" }}{{ end -}}
{{- if and .Values.secretKeys .Values.existingSecret }}{{ fail "secretKeys and existingSecret are two places for keys: set one" }}{{ end -}}
{{- end }}

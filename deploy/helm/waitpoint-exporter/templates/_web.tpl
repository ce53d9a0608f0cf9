{{- /* What follows from the web configuration, as YAML: scheme, file (whether there
is one), login (whether a request needs more than a connection), config. */ -}}
{{- define "waitpoint-exporter.web" -}}
{{- $web := .Values.web -}}
{{- $config := deepCopy ($web.config | default dict) -}}
{{- $tls := $config.tls_server_config | default dict -}}
{{- if $web.tlsSecret -}}
{{- if not (or $tls.cert $tls.cert_file) }}{{ $_ := set $tls "cert_file" "/etc/waitpoint_exporter_tls/tls.crt" }}{{ end -}}
{{- if not (or $tls.key $tls.key_file) }}{{ $_ := set $tls "key_file" "/etc/waitpoint_exporter_tls/tls.key" }}{{ end -}}
{{- end -}}
{{- with $tls }}{{ $_ := set $config "tls_server_config" . }}{{ end -}}
scheme: {{ $web.scheme | default (ternary "https" "http" (not (empty $tls))) }}
file: {{ or $web.existingSecret $config | empty | not }}
users: {{ not (empty $config.basic_auth_users) }}
certificates: {{ hasPrefix "Require" ($tls.client_auth_type | default "") }}
login: {{ or $web.existingSecret $config.basic_auth_users (hasPrefix "Require" ($tls.client_auth_type | default "")) | empty | not }}
config:
  {{- toYaml $config | nindent 2 }}
{{- end }}

{{- /* HOST:PORT of the service within the cluster. */ -}}
{{- define "waitpoint-exporter.host" -}}
{{- include "waitpoint-exporter.fullname" . }}.{{ include "waitpoint-exporter.namespace" . }}.svc
{{- end }}

{{- define "waitpoint-exporter.externalURL" -}}
{{- if .Values.web.externalURL -}}
{{- .Values.web.externalURL -}}
{{- else if and .Values.ingress.enabled .Values.ingress.hosts -}}
{{- $host := (first .Values.ingress.hosts).host -}}
{{- $secure := false -}}
{{- range .Values.ingress.tls }}{{ if or (not .hosts) (has $host .hosts) }}{{ $secure = true }}{{ end }}{{ end -}}
{{- ternary "https" "http" $secure }}://{{ $host }}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames -}}
https://{{ first .Values.httpRoute.hostnames }}
{{- else -}}
{{- (include "waitpoint-exporter.web" . | fromYaml).scheme }}://{{ include "waitpoint-exporter.host" . }}:{{ .Values.service.port }}
{{- end -}}
{{- end }}

{{- /* A probe: the values' fields, which are the argument probe, over the default. */ -}}
{{- define "waitpoint-exporter.probe" -}}
{{- $web := include "waitpoint-exporter.web" .context | fromYaml -}}
{{- $default := dict "httpGet" (dict "path" "/-/healthy" "port" "metrics" "scheme" (upper $web.scheme)) -}}
{{- if $web.login }}{{ $default = dict "tcpSocket" (dict "port" "metrics") }}{{ end -}}
{{- $own := deepCopy .probe -}}
{{- if or $own.exec $own.grpc $own.tcpSocket (and $own.httpGet $web.login) }}{{ $default = dict }}{{ end -}}
{{- toYaml (mergeOverwrite $default $own) -}}
{{- end }}

{{- /* The port of the argument, an URL. */ -}}
{{- define "waitpoint-exporter.port" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- if $port -}}
{{- $port -}}
{{- else if hasPrefix "socks" $url.scheme -}}
1080
{{- else if eq $url.scheme "http" -}}
80
{{- else -}}
443
{{- end -}}
{{- end }}

{{- /* The TCP ports on which the API and proxies listen, as a list. */ -}}
{{- define "waitpoint-exporter.egressPorts" -}}
{{- $ports := list -}}
{{- $defaults := .Values.config.defaults | default dict -}}
{{- if .Values.existingConfigMap }}{{ $ports = append $ports 443 }}{{ end -}}
{{- range ternary list .Values.config.environments (not (empty .Values.existingConfigMap)) -}}
{{- $ports = append $ports (include "waitpoint-exporter.port" (.api_url | default $defaults.api_url | default "https://api.trigger.dev") | int) -}}
{{- with .proxy_url | default $defaults.proxy_url }}{{ $ports = append $ports (include "waitpoint-exporter.port" . | int) }}{{ end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if and .value (has (upper .name) (list "HTTPS_PROXY" "HTTP_PROXY" "ALL_PROXY")) }}{{ $ports = append $ports (include "waitpoint-exporter.port" .value | int) }}{{ end -}}
{{- end -}}
{{- range .Values.networkPolicy.egress.ports }}{{ $ports = append $ports (int .) }}{{ end -}}
{{- dict "ports" (uniq $ports) | toYaml -}}
{{- end }}

//go:build manifests

package manifests

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// values has a case for each value of the chart, and for what people have. What
// is not in values is as the chart has it.
var values = []struct {
	name, values string
	// As an old or another cluster says of itself.
	args   []string
	expect []string
	// Not to be admitted at the level restricted.
	privileged bool
}{
	{name: "defaults", expect: []string{
		"Deployment metadata.name: waitpoint-exporter",
		"Deployment spec: {replicas: 1, strategy: {type: Recreate}}",
		"Container image: ghcr.io/acme/waitpoint_exporter:0.1.0",
		"Container args: [--config.file=/etc/waitpoint_exporter/waitpoint_exporter.yml]",
		"Container args: ['--web.external-url=http://waitpoint-exporter.monitoring.svc:10210']",
		"Container livenessProbe.httpGet: {path: /-/healthy, port: metrics, scheme: HTTP}",
		"Container readinessProbe.httpGet: {path: /-/healthy, port: metrics, scheme: HTTP}",
		"Container startupProbe: null",
		"NetworkPolicy spec.egress.*.ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 443}]",
		"Secret metadata.name: waitpoint-exporter",
		"ServiceMonitor: null", "PrometheusRule: null", "Ingress: null", "HTTPRoute: null",
	}},

	// What people have.
	{name: "OpenShift", args: []string{"--api-versions=security.openshift.io/v1"}, expect: []string{
		"PodSpec securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}",
		"PodSpec securityContext.runAsUser: null",
		"PodSpec securityContext.runAsGroup: null",
		"PodSpec securityContext.fsGroup: null",
		"Pod spec.securityContext.runAsUser: null",
		"NetworkPolicy spec.egress.*.ports: [{protocol: UDP, port: 5353}, {protocol: UDP, port: 53}]",
	}},
	{name: "OpenShift, said so", values: "openshift: always", expect: []string{
		"PodSpec securityContext.runAsUser: null",
	}},
	{
		name: "OpenShift, ids of one's own", values: "openshift: never",
		args: []string{"--api-versions=security.openshift.io/v1"}, expect: []string{
			"PodSpec securityContext.runAsUser: 65534",
		},
	},
	{name: "self-hosted", values: `
config:
  defaults: {api_url: "http://trigger.internal:3030"}
  environments: [{name: prod, secret_key_file: /var/run/secrets/waitpoint_exporter/prod}]`, expect: []string{
		"NetworkPolicy spec.egress.1.ports: [{protocol: TCP, port: 3030}]",
		"NetworkPolicy spec.egress.1.ports.1: null",
	}},
	{
		name: "self-hosted and Cloud", values: `
config:
  environments:
    - {name: prod, secret_key_file: /var/run/secrets/waitpoint_exporter/prod}
    - {name: own, api_url: "http://[fd00::1]:3030", secret_key_file: /var/run/secrets/waitpoint_exporter/own}
    - {name: plain, api_url: "http://trigger.internal", secret_key_file: /var/run/secrets/waitpoint_exporter/own}`,
		expect: []string{
			"NetworkPolicy spec.egress.1.ports.*.port: [443, 3030, 80]",
		},
	},
	{name: "proxy", values: `
config:
  defaults: {proxy_url: "http://proxy.example.com:3128"}
  environments: [{name: prod, secret_key_file: /var/run/secrets/waitpoint_exporter/prod}]`, expect: []string{
		"NetworkPolicy spec.egress.1.ports.*.port: [443, 3128]",
	}},
	{
		name: "proxy by variable", values: "extraEnv: [{name: HTTPS_PROXY, value: 'http://proxy.example.com:8080'}]",
		expect: []string{
			"Container env: [{name: HTTPS_PROXY, value: 'http://proxy.example.com:8080'}]",
			"NetworkPolicy spec.egress.1.ports.*.port: [443, 8080]",
		},
	},
	{name: "TLS", values: "{web: {tlsSecret: exporter-tls}, serviceMonitor: {enabled: true}}", expect: []string{
		"Secret[waitpoint-exporter-web] stringData: {web.yml: \"tls_server_config:\\n  cert_file: " +
			"/etc/waitpoint_exporter_tls/tls.crt\\n  key_file: /etc/waitpoint_exporter_tls/tls.key\\n\"}",
		"Container args: [--web.config.file=/etc/waitpoint_exporter_web/web.yml, " +
			"'--web.external-url=https://waitpoint-exporter.monitoring.svc:10210']",
		"Container livenessProbe.httpGet: {path: /-/healthy, port: metrics, scheme: HTTPS}",
		"Container readinessProbe.httpGet.scheme: HTTPS",
		"PodSpec volumes: [{name: tls, secret: {secretName: exporter-tls, defaultMode: 288}}]",
		"Container volumeMounts: [{name: tls, mountPath: /etc/waitpoint_exporter_tls, readOnly: true}]",
		"Endpoint: {scheme: https, tlsConfig: {serverName: waitpoint-exporter.monitoring.svc, " +
			"ca: {secret: {name: exporter-tls, key: ca.crt}}}}",
		"Pod spec.containers.0.args: [nc -w 10 waitpoint-exporter 10210 </dev/null]",
	}},
	{
		name: "TLS, its CA elsewhere", values: `
web: {tlsSecret: exporter-tls}
serviceMonitor: {enabled: true, tlsConfig: {serverName: other, ca: {configMap: {name: ca, key: ca.pem}}}}`,
		expect: []string{
			"Endpoint tlsConfig: {serverName: other, ca: {configMap: {name: ca, key: ca.pem}}}",
			"Endpoint tlsConfig.ca.secret: null",
		},
	},
	{
		name: "users", values: `
web: {config: {basic_auth_users: {prometheus: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG}}}
serviceMonitor:
  {enabled: true, basicAuth: {username: {name: login, key: user}, password: {name: login, key: password}}}`,
		expect: []string{
			"Container livenessProbe: {tcpSocket: {port: metrics}}",
			"Container livenessProbe.httpGet: null",
			"Container readinessProbe.tcpSocket: {port: metrics}",
			"Endpoint: {scheme: http, basicAuth: {username: {name: login, key: user}, password: {name: login, " +
				"key: password}}}",
			"Pod spec.containers.0.args: [nc -w 10 waitpoint-exporter 10210 </dev/null]",
		},
	},
	{name: "a token in place of a user", values: `
web: {existingSecret: exporter-web, scheme: https}
serviceMonitor: {enabled: true, authorization: {credentials: {name: login, key: token}}}`, expect: []string{
		"PodSpec volumes: [{name: web, secret: {secretName: exporter-web, defaultMode: 288}}]",
		"Container livenessProbe.tcpSocket: {port: metrics}",
		"Secret[waitpoint-exporter-web]: null",
		"Endpoint: {scheme: https, authorization: {credentials: {name: login, key: token}}}",
	}},
	{name: "demo", values: "demo: true", expect: []string{
		"Container args: [--demo]", "ConfigMap: null", "Secret: null",
		"PodSpec volumes: null", "NetworkPolicy spec.egress.1: null",
	}},

	// Names.
	{name: "nameOverride", values: "nameOverride: tokens", expect: []string{
		"Deployment metadata.name: waitpoint-exporter-tokens",
		"Deployment spec.selector.matchLabels: {app.kubernetes.io/name: tokens}",
		"Service spec.selector: {app.kubernetes.io/name: tokens}",
	}},
	{name: "fullnameOverride", values: "fullnameOverride: tokens", expect: []string{
		"Deployment metadata.name: tokens", "Service metadata.name: tokens",
		"PodSpec volumes: [{name: keys, secret: {secretName: tokens, defaultMode: 288}}]",
	}},
	{
		name: "namespaceOverride", values: "{namespaceOverride: elsewhere, serviceMonitor: {enabled: true}}",
		expect: []string{
			"Deployment metadata.namespace: elsewhere", "ServiceMonitor metadata.namespace: elsewhere",
			"ServiceMonitor spec.namespaceSelector.matchNames: [elsewhere]",
		},
	},
	{
		name:   "labels of all",
		values: "{commonLabels: {team: a, app.kubernetes.io/name: x}, commonAnnotations: {note: b}}",
		expect: []string{
			"Deployment metadata.labels: {team: a, app.kubernetes.io/name: waitpoint-exporter}",
			"Service metadata.annotations: {note: b}",
			"Deployment spec.template.metadata: {labels: {team: a, app.kubernetes.io/name: waitpoint-exporter}, " +
				"annotations: {note: b}}",
		},
	},

	// Image.
	{name: "image", values: `
image:
  {registry: registry.example.com, repository: a/b, tag: 1.2.3, pullPolicy: Always, digest: "sha256:` + digest + `"}
imagePullSecrets: [{name: one}]
global: {imagePullSecrets: [{name: two}]}`, expect: []string{
		"Container: {image: 'registry.example.com/a/b:1.2.3@sha256:" + digest + "', imagePullPolicy: Always}",
		"PodSpec imagePullSecrets: [{name: one}, {name: two}]",
		"Deployment metadata.labels: {app.kubernetes.io/version: 1.2.3}",
	}},
	{name: "registry of all charts", values: "global: {imageRegistry: mirror.example.com}", expect: []string{
		"Container image: mirror.example.com/acme/waitpoint_exporter:0.1.0",
	}},

	// Configuration.
	{name: "existing objects", values: "{existingConfigMap: settings, existingSecret: keys}", expect: []string{
		"ConfigMap: null", "Secret: null",
		"PodSpec volumes: [{name: config, configMap: {name: settings}}, {name: keys, secret: {secretName: keys, " +
			"defaultMode: 288}}]",
		"Deployment spec.template.metadata.annotations: null",
		"NetworkPolicy spec.egress.1.ports: [{protocol: TCP, port: 443}]",
	}},
	{name: "keys", values: "secretKeys: {prod: tr_prod_x}", expect: []string{"Secret stringData: {prod: tr_prod_x}"}},
	{
		name: "environments", values: `
config:
  environments:
    - name: staging
      project: shop
      secret_key_file: /var/run/secrets/waitpoint_exporter/staging
      tokens: {period: 30d}`,
		expect: []string{
			"ConfigMap data: {waitpoint_exporter.yml: \"environments:\\n- name: staging\\n  project: shop\\n  " +
				"secret_key_file: /var/run/secrets/waitpoint_exporter/staging\\n  tokens:\\n    period: 30d\\n\"}",
		},
	},

	// Serving.
	{name: "port and path", values: `
web: {port: 9000, telemetryPath: /numbers, externalURL: "https://example.com/waitpoints", routePrefix: /waitpoints}
serviceMonitor: {enabled: true}`, expect: []string{
		"Container args: ['--web.listen-address=:9000', --web.telemetry-path=/numbers]",
		"Container args: ['--web.external-url=https://example.com/waitpoints', --web.route-prefix=/waitpoints]",
		"Container ports: [{name: metrics, containerPort: 9000}]",
		"Endpoint: {path: /numbers, honorLabels: true}",
		"Service spec.ports: [{port: 10210, targetPort: metrics}]",
		"Pod spec.containers.0.args: ['wget -qO- http://waitpoint-exporter:10210/numbers | grep " +
			"''^triggerdev_waitpoint_up{''']",
	}},
	{name: "scheme", values: "web: {existingSecret: exporter-web, scheme: http}", expect: []string{
		"Container args: ['--web.external-url=http://waitpoint-exporter.monitoring.svc:10210']",
	}},

	// The pod.
	{name: "pod", values: `
replicas: 0
revisionHistoryLimit: 3
terminationGracePeriodSeconds: 60
extraArgs: [--log.level=debug, --web.enable-lifecycle]
extraEnv: [{name: A, value: b}]
extraEnvFrom: [{secretRef: {name: more}}]
extraVolumes: [{name: ca, configMap: {name: ca}}]
extraVolumeMounts: [{name: ca, mountPath: /etc/ca, readOnly: true}]
resources: {requests: {cpu: 100m, memory: 100Mi}, limits: {memory: 1Gi}}
podLabels: {team: a, app.kubernetes.io/name: x}
podAnnotations: {note: b}
deploymentAnnotations: {reloader: "true"}
nodeSelector: {kubernetes.io/arch: arm64}
tolerations: [{key: arm, operator: Exists}]
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 1, preference: {matchExpressions: [{key: zone, operator: In, values: [a]}]}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
dnsPolicy: None
dnsConfig: {nameservers: [10.0.0.10]}
hostAliases: [{ip: 10.0.0.9, hostnames: [trigger.internal]}]`, expect: []string{
		"Deployment spec: {replicas: 0, revisionHistoryLimit: 3}",
		"Deployment metadata.annotations: {reloader: 'true'}",
		"Deployment spec.template.metadata: {labels: {team: a, app.kubernetes.io/name: waitpoint-exporter}, " +
			"annotations: {note: b}}",
		"PodSpec: {terminationGracePeriodSeconds: 60, nodeSelector: {kubernetes.io/arch: arm64}, " +
			"tolerations: [{key: arm, operator: Exists}], dnsPolicy: None}",
		"PodSpec: {dnsConfig: {nameservers: [10.0.0.10]}, hostAliases: [{ip: 10.0.0.9, " +
			"hostnames: [trigger.internal]}]}",
		"PodSpec topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]",
		"PodSpec affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1}]",
		"PodSpec volumes: [{name: ca, configMap: {name: ca}}]",
		"Container: {args: [--log.level=debug, --web.enable-lifecycle], env: [{name: A, value: b}], " +
			"envFrom: [{secretRef: {name: more}}]}",
		"Container volumeMounts: [{name: ca, mountPath: /etc/ca, readOnly: true}]",
		"Container resources: {requests: {cpu: 100m, memory: 100Mi}, limits: {memory: 1Gi}}",
	}},
	{
		name:   "classes",
		values: "{priorityClassName: system-cluster-critical, runtimeClassName: gvisor}",
		expect: []string{
			"PodSpec: {priorityClassName: system-cluster-critical, runtimeClassName: gvisor}",
		},
	},
	{name: "containers", values: `
extraContainers:
  - name: beside
    image: "x:{{ .Chart.AppVersion }}"
    securityContext: &restricted {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
initContainers: [{name: before, image: y, securityContext: *restricted}]`, expect: []string{
		"PodSpec containers: [{name: beside, image: 'x:0.1.0'}, {name: waitpoint-exporter}]",
		"PodSpec initContainers: [{name: before, image: y}]",
	}},
	{name: "security contexts", values: `
podSecurityContext:
  runAsUser: 1000
  runAsGroup: null
  fsGroup: 2000
  runAsNonRoot: true
  seccompProfile: {type: Localhost, localhostProfile: a.json}
securityContext:
  runAsUser: 1001
  readOnlyRootFilesystem: false
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}`, expect: []string{
		"PodSpec securityContext: {runAsUser: 1000, runAsNonRoot: true, fsGroup: 2000, " +
			"seccompProfile: {type: Localhost, localhostProfile: a.json}}",
		"PodSpec securityContext.runAsGroup: null",
		"Container securityContext: {runAsUser: 1001, readOnlyRootFilesystem: false, " +
			"allowPrivilegeEscalation: false, capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}}",
		"Pod spec.securityContext: {runAsUser: 1000}",
	}},
	{name: "probes", values: `
livenessProbe: {periodSeconds: 30, httpGet: {httpHeaders: [{name: A, value: b}]}}
readinessProbe: {exec: {command: [/waitpoint_exporter, --version]}}
startupProbe: {failureThreshold: 60}`, expect: []string{
		"Container livenessProbe: {periodSeconds: 30, httpGet: {path: /-/healthy, port: metrics, " +
			"httpHeaders: [{name: A, value: b}]}}",
		"Container readinessProbe: {exec: {command: [/waitpoint_exporter, --version]}}",
		"Container readinessProbe.httpGet: null",
		"Container startupProbe: {failureThreshold: 60, httpGet: {path: /-/healthy}}",
	}},
	{name: "no probe", values: "livenessProbe: null", expect: []string{"Container livenessProbe: null"}},
	{
		name: "host network", values: "{hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet}", privileged: true,
		expect: []string{
			"PodSpec: {hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet}",
		},
	},
	{
		name:   "service account",
		values: "serviceAccount: {name: own, labels: {a: b}, annotations: {c: d}, automount: true}",
		expect: []string{
			"ServiceAccount metadata: {name: own, labels: {a: b}, annotations: {c: d}}",
			"PodSpec: {serviceAccountName: own, automountServiceAccountToken: true}",
		},
	},
	{name: "no service account", values: "serviceAccount: {create: false}", expect: []string{
		"ServiceAccount: null", "PodSpec: {serviceAccountName: default, automountServiceAccountToken: false}",
	}},

	// Ways to it.
	{name: "service", values: `
service:
  type: NodePort
  port: 80
  nodePort: 30080
  clusterIP: 10.0.0.77
  ipFamilyPolicy: SingleStack
  ipFamilies: [IPv4]
  labels: {a: b}
  annotations: {prometheus.io/scrape: "true"}
  extraSpec: {externalTrafficPolicy: Local}
serviceMonitor: {enabled: true}`, expect: []string{
		"Service metadata: {labels: {a: b}, annotations: {prometheus.io/scrape: 'true'}}",
		"Service spec: {type: NodePort, clusterIP: 10.0.0.77, ipFamilyPolicy: SingleStack, ipFamilies: [IPv4], " +
			"externalTrafficPolicy: Local}",
		"Service spec.ports: [{port: 80, nodePort: 30080, targetPort: metrics}]",
		"Endpoint relabelings: [{targetLabel: instance, replacement: 'waitpoint-exporter.monitoring.svc:80'}]",
		"Pod spec.containers.0.args: ['wget -qO- http://waitpoint-exporter:80/metrics | grep " +
			"''^triggerdev_waitpoint_up{''']",
	}},
	{name: "ingress", values: `
ingress:
  enabled: true
  className: nginx
  labels: {a: b}
  annotations: {c: d}
  hosts: [{host: "{{ .Release.Name }}.example.com"}, {host: two.example.com, paths: [{path: /x, pathType: Exact}]}]
  tls: [{secretName: cert, hosts: [two.example.com]}]
web: {externalURL: "https://waitpoint-exporter.example.com"}`, expect: []string{
		"Ingress metadata: {labels: {a: b}, annotations: {c: d}}",
		"Ingress spec: {ingressClassName: nginx, tls: [{secretName: cert, hosts: [two.example.com]}]}",
		"Ingress spec.rules: [{host: waitpoint-exporter.example.com, http: {paths: [{path: /, pathType: Prefix, " +
			"backend: {service: {name: waitpoint-exporter, port: {name: metrics}}}}]}}]",
		"Ingress spec.rules: [{host: two.example.com, http: {paths: [{path: /x, pathType: Exact}]}}]",
	}},
	{name: "links lead to the ingress", values: `
ingress: {enabled: true, hosts: [{host: one.example.com}], tls: [{hosts: [one.example.com]}]}`, expect: []string{
		"Container args: ['--web.external-url=https://one.example.com']",
	}},
	{name: "links lead to the ingress, without TLS", values: `
ingress: {enabled: true, hosts: [{host: one.example.com}], tls: [{hosts: [two.example.com]}]}`, expect: []string{
		"Container args: ['--web.external-url=http://one.example.com']",
	}},
	{name: "HTTPRoute", values: `
httpRoute:
  enabled: true
  labels: {a: b}
  annotations: {c: d}
  parentRefs: [{name: gateway, namespace: edge}]
  hostnames: [one.example.com]
  matches: [{path: {type: Exact, value: /tokens}}]
  filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}]`, expect: []string{
		"HTTPRoute metadata: {labels: {a: b}, annotations: {c: d}}",
		"HTTPRoute spec: {parentRefs: [{name: gateway, namespace: edge}], hostnames: [one.example.com]}",
		"HTTPRoute spec.rules.0: {matches: [{path: {type: Exact, value: /tokens}}], " +
			"filters: [{type: RequestHeaderModifier}], backendRefs: [{name: waitpoint-exporter, port: 10210}]}",
		"Container args: ['--web.external-url=https://one.example.com']",
	}},
	{name: "network policy", values: `
networkPolicy:
  labels: {a: b}
  annotations: {c: d}
  ingress: {namespaces: [prometheus, edge], from: [{ipBlock: {cidr: 10.0.0.0/8}}]}
  egress:
    ports: [8443]
    to: [{ipBlock: {cidr: 192.0.2.1/32}}]
    dnsPorts: [1053]
    extra: [{ports: [{protocol: TCP, port: 9999}]}]`, expect: []string{
		"NetworkPolicy metadata: {labels: {a: b}, annotations: {c: d}}",
		"NetworkPolicy spec.ingress.0.from: [{namespaceSelector: {matchExpressions: [{key: " +
			"kubernetes.io/metadata.name, operator: In, values: [prometheus, edge]}]}}, " +
			"{ipBlock: {cidr: 10.0.0.0/8}}]",
		"NetworkPolicy spec.egress.0.ports.*.port: [1053]",
		"NetworkPolicy spec.egress.1: {ports: [{protocol: TCP, port: 443}, {protocol: TCP, port: 8443}], " +
			"to: [{ipBlock: {cidr: 192.0.2.1/32}}]}",
		"NetworkPolicy spec.egress.2: {ports: [{protocol: TCP, port: 9999}]}",
	}},
	{name: "no network policy", values: "networkPolicy: {enabled: false}", expect: []string{"NetworkPolicy: null"}},

	// What Prometheus and Grafana are told.
	{name: "ServiceMonitor", values: `
serviceMonitor:
  enabled: true
  namespace: prometheus
  labels: {release: kube-prometheus-stack}
  annotations: {c: d}
  interval: 1m
  scrapeTimeout: 20s
  instance: waitpoints.example.com
  proxyUrl: http://proxy.example.com:3128
  honorLabels: false
  relabelings: [{targetLabel: cluster, replacement: eu}]
  metricRelabelings: [{action: drop, sourceLabels: [__name__], regex: go_.*}]
  targetLabels: [a]
  podTargetLabels: [b]
  sampleLimit: 1000
  targetLimit: 2
  labelLimit: 20
  labelNameLengthLimit: 50
  labelValueLengthLimit: 200
  scrapeNativeHistograms: true
  scrapeClassicHistograms: false
  extraEndpoint: {followRedirects: false}
  extraSpec: {scrapeClass: own}`, expect: []string{
		"ServiceMonitor metadata: {namespace: prometheus, labels: {release: kube-prometheus-stack}, " +
			"annotations: {c: d}}",
		"ServiceMonitor spec.namespaceSelector.matchNames: [monitoring]",
		"Endpoint: {interval: 1m, scrapeTimeout: 20s, path: /metrics, scheme: http, honorLabels: null, " +
			"proxyUrl: 'http://proxy.example.com:3128', followRedirects: false}",
		"Endpoint relabelings: [{targetLabel: job, replacement: waitpoint_exporter}, {targetLabel: instance, " +
			"replacement: waitpoints.example.com}, {targetLabel: cluster, replacement: eu}]",
		"Endpoint metricRelabelings: [{action: drop, sourceLabels: [__name__], regex: go_.*}]",
		"ServiceMonitor spec: {targetLabels: [a], podTargetLabels: [b], sampleLimit: 1000, targetLimit: 2, " +
			"labelLimit: 20, labelNameLengthLimit: 50, labelValueLengthLimit: 200}",
		"ServiceMonitor spec: {scrapeNativeHistograms: true, scrapeClassicHistograms: false, scrapeClass: own}",
	}},
	{name: "rules", values: `
prometheusRule:
  enabled: true
  namespace: prometheus
  labels: {release: kube-prometheus-stack}
  annotations: {c: d}
  extraGroups: [{name: own, rules: [{alert: Own, expr: vector(1)}]}]`, expect: []string{
		"PrometheusRule metadata: {namespace: prometheus, labels: {release: kube-prometheus-stack}, " +
			"annotations: {c: d}}",
		"PrometheusRule spec.groups: [{name: own, rules: [{alert: Own, expr: vector(1)}]}]",
		"PrometheusRule spec.groups.*.rules.*.alert: [WaitpointTokensOverdue, WaitpointExporterDown]",
	}},
	{name: "alerts of one's own liking", values: `
prometheusRule:
  enabled: true
  alerts:
    WaitpointTokensNearTimeout:
      {threshold: 2.5, for: 30m, keep_firing_for: 5m, labels: {severity: info, team: a}, annotations: {note: b}}
    WaitpointTokensOverdue: {expr: vector(7)}
    WaitpointTagsFolded: {enabled: false}`, expect: []string{
		"PrometheusRule spec.groups.*.rules: [{alert: WaitpointTokensNearTimeout, " +
			"expr: \"triggerdev_waitpoint_tokens_near_timeout{within=\\\"5m\\\"} >= 2.5\\n\", for: 30m, " +
			"keep_firing_for: 5m, labels: {severity: info, team: a}, annotations: {note: b}}]",
		"PrometheusRule spec.groups.*.rules: [{alert: WaitpointTokensOverdue, expr: vector(7), " +
			"labels: {severity: warning}}]",
	}},
	{
		name: "dashboards",
		values: `
dashboards:
  {enabled: true, namespace: grafana, labels: {grafana_dashboard: own}, annotations: {grafana_folder: x}}`,
		expect: []string{
			"ConfigMap[waitpoint-exporter-dashboard-waitpoints] metadata: {namespace: grafana, " +
				"labels: {grafana_dashboard: own}, annotations: {grafana_folder: x}}",
			"ConfigMap[waitpoint-exporter-dashboard-waitpoint-exporter] metadata: {labels: {grafana_dashboard: own}}",
		},
	},

	// The rest.
	{name: "objects of one's own", values: `
extraManifests:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: "{{ .Release.Name }}-own"}}
  - |
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: text}`, expect: []string{
		"ConfigMap[waitpoint-exporter-own] apiVersion: v1", "ConfigMap[text] apiVersion: v1",
	}},
	{name: "test", values: "test: {image: registry.example.com/busybox:1, pullPolicy: Always}", expect: []string{
		"Pod spec.containers.0: {image: 'registry.example.com/busybox:1', imagePullPolicy: Always}",
	}},
	{name: "no test", values: "test: {enabled: false}", expect: []string{"Pod: null"}},
}

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// testChart checks that each value comes out where it should, and that all is
// admitted.
func testChart(t *testing.T, c *cluster) {
	for _, test := range values {
		t.Run(test.name, func(t *testing.T) {
			out, err := helm(t.Context(), t, chart, test.args, image, test.values)
			if err != nil {
				t.Fatal(err)
			}
			objects := parse(t, out)
			for _, e := range test.expect {
				expect(t, objects, e)
			}
			if test.privileged {
				if err := c.admit(t.Context(), pod(t, objects)); err == nil {
					t.Error("the pod is admitted at the level restricted; the case says that it is not")
				}
				return
			}
			admitAll(t.Context(), t, c, objects)
		})
	}
}

// TestRefused checks that what cannot work is refused before it is applied, with
// the name of the value to change.
func TestRefused(t *testing.T) {
	for _, test := range []struct{ name, values, want string }{
		{"no image", "image: {repository: ''}", "image.repository is not set"},
		{"no configuration", "config: null", "config is empty"},
		{"an empty configuration", "config: {environments: []}", "config.environments is empty"},
		{"no environments", "config: {environments: null}", "config.environments is empty"},
		{"an environment without a name", "config: {environments: [{secret_key_file: a}]}", "missing property 'name'"},
		{"a key for all to read", "config: {environments: [{name: prod, secret_key: tr_prod_x}]}", "'not' failed"},
		{"another field of the configuration", "config: {environment: []}", "'environment' not allowed"},
		{
			"an environment's flag", "extraArgs: [--tokens.period=30d]",
			"extraArgs: --tokens.period describes a single environment",
		},
		{
			"an environment's switch", "extraArgs: [--no-tokens.waiting-within-period]",
			"extraArgs: --no-tokens.waiting-within-period describes",
		},
		{
			"an environment's variable", "extraEnv: [{name: TRIGGER_API_URL, value: 'http://a'}]",
			"extraEnv: TRIGGER_API_URL does not go together with the configuration file: set api_url in config",
		},
		{
			"another port", "extraArgs: ['--web.listen-address=:80']",
			"extraArgs: --web.listen-address leaves probes, service and scrape as they were: set web.port",
		},
		{"another path", "extraArgs: [--web.telemetry-path=/a]", "set web.telemetryPath"},
		{
			"another web configuration", "extraArgs: [--web.config.file=/a]",
			"set web.config, web.tlsSecret or web.existingSecret",
		},
		{"another URL", "extraArgs: ['--web.external-url=http://a']", "set web.externalURL"},
		{"another configuration", "extraArgs: [--config.file=/a]", "set config or existingConfigMap"},
		{"a check alone", "extraArgs: [--config.check]", "does not suit a pod"},
		{"no flag", "extraArgs: [debug]", "does not match pattern"},
		{
			"users that Prometheus does not know",
			"{web: {config: {basic_auth_users: {a: b}}}, serviceMonitor: {enabled: true}}",
			"set serviceMonitor.basicAuth",
		},
		{"certificates that Prometheus has not", `
web: {tlsSecret: a, config: {tls_server_config: {client_auth_type: RequireAndVerifyClientCert, client_ca_file: a}}}
serviceMonitor: {enabled: true}`, "set serviceMonitor.tlsConfig"},
		{
			"two web configurations", "web: {existingSecret: a, scheme: http, config: {basic_auth_users: {a: b}}}",
			"web.config and web.existingSecret",
		},
		{"a web configuration of no scheme", "web: {existingSecret: a}", "web.scheme is not set"},
		{"another field of the web configuration", "web: {config: {tls_config: {}}}", "'tls_config' not allowed"},
		{"two places for keys", "{existingSecret: a, secretKeys: {b: c}}", "secretKeys and existingSecret"},
		{"an ingress to nowhere", "ingress: {enabled: true}", "ingress.hosts is empty"},
		{"a route from nowhere", "httpRoute: {enabled: true}", "httpRoute.parentRefs is empty"},
		{
			"an alert that is none", "prometheusRule: {enabled: true, alerts: {Waitpoint: {enabled: false}}}",
			"prometheusRule.alerts.Waitpoint: there is no such alert",
		},
		{
			"a threshold of no number",
			"prometheusRule: {enabled: true, alerts: {WaitpointRefreshFailing: {threshold: much}}}",
			"want number",
		},
		{"a duration of no unit", "serviceMonitor: {interval: '30'}", "does not match pattern"},
		{"two exporters", "replicas: 2", "maximum"},
		{"a port of no number", "service: {port: many}", "want integer"},
		{"a digest of another kind", "image: {digest: 'md5:1'}", "does not match pattern"},
		{"a misspelt value", "imagex: {tag: 1}", "'imagex' not allowed"},
		{"a misspelt value within", "networkPolicy: {enable: false}", "'enable' not allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := helm(t.Context(), t, chart, nil, image, test.values)
			if err == nil {
				t.Fatalf("rendered:\n%s", out)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s\ndoes not say %q", err, test.want)
			}
		})
	}
}

// TestRules checks that rules come out of the chart as they are in their files.
func TestRules(t *testing.T) {
	var want []any
	for _, name := range []string{"recording.yml", "alerts.yml"} {
		text, err := os.ReadFile(root + "/deploy/prometheus/" + name)
		if err != nil {
			t.Fatal(err)
		}
		groups, _ := parse(t, string(text))[0]["groups"].([]any)
		want = append(want, groups...)
	}
	objects := render(t.Context(), t, "prometheusRule: {enabled: true}")
	got := at(map[string]any(only(t, objects, "PrometheusRule")), "spec.groups")
	if d := cmp.Diff(any(want), got); d != "" {
		t.Errorf("(-file +chart)\n%s", d)
	}
}

// TestThresholds checks that the threshold of an alert can be set where its
// expression has one, that the chart says so where not, and that each alert can be
// left out. Alerts that are named as examples exist.
func TestThresholds(t *testing.T) {
	text, err := os.ReadFile(root + "/deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	const path = "spec.groups.*.rules"
	rules, _ := at(map[string]any(parse(t, string(text))[0]), "groups.*.rules").([]any)
	known, tuned := map[string]bool{}, 0
	for _, rule := range rules {
		name, _ := at(rule, "alert").(string)
		known[name] = true
		with := func(change string) (string, error) {
			alert := "prometheusRule: {enabled: true, alerts: {" + name + ": {" + change + "}}}"
			return helm(t.Context(), t, chart, nil, image, alert)
		}
		numbers := map[string]bool{}
		expr, _ := at(rule, "expr").(string)
		for _, m := range comparison.FindAllStringSubmatch(expr, -1) {
			numbers[m[1]] = true
		}
		out, err := with("threshold: 987")
		switch {
		case err == nil:
			changed := comparison.ReplaceAllStringFunc(expr, func(c string) string {
				return c[:strings.LastIndex(c, " ")] + " 987"
			})
			want := map[string]any{"alert": name, "expr": changed}
			if !has(at(map[string]any(only(t, parse(t, out), "PrometheusRule")), path), []any{want}) ||
				len(numbers) != 1 {
				t.Errorf("%s is not\n%s", name, changed)
			}
			tuned++
		case !strings.Contains(err.Error(), name+".threshold: its expression does not compare with one number"):
			t.Errorf("%s: %s", name, err)
		case len(numbers) == 1 && !strings.Contains(expr, " * "):
			t.Errorf("%s has one threshold, and it cannot be set", name)
		}
		if out, err = with("enabled: false"); err != nil {
			t.Fatal(err)
		}
		left, _ := at(map[string]any(only(t, parse(t, out), "PrometheusRule")), path+".*.alert").([]any)
		if slices.Contains(left, any(name)) || len(left) != len(rules)-1 {
			t.Errorf("of %d alerts %d are left without %s", len(rules), len(left), name)
		}
	}
	t.Logf("%d of %d alerts have one threshold", tuned, len(rules))
	if tuned == 0 {
		t.Error("no alert can be tuned")
	}
	for _, file := range []string{"values.yaml", "README.md"} {
		text, err := os.ReadFile(chart + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`Waitpoint[A-Z]\w+`).FindAllString(string(text), -1) {
			if !known[name] {
				t.Errorf("%s: there is no alert %s", file, name)
			}
		}
	}
}

// comparison is what an expression compares with, but for equality.
var comparison = regexp.MustCompile(`[<>]=? ([0-9][0-9.e]*)`)

func only(t *testing.T, objects []object, kind string) object {
	t.Helper()
	i := slices.IndexFunc(objects, func(o object) bool { return o.kind() == kind })
	if i < 0 {
		t.Fatalf("there is no %s", kind)
	}
	return objects[i]
}

// TestValues checks that each value has a case and a comment.
func TestValues(t *testing.T) {
	text, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	set := []string{"image.repository"}
	for _, test := range values {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(test.values), &v); err != nil {
			t.Fatalf("%s: %s", test.name, err)
		}
		set = append(set, leaves("", v)...)
	}
	for _, path := range leaves("", all) {
		// A value that holds a map or list is covered by a case for what is in it.
		if !slices.ContainsFunc(set, func(s string) bool { return s == path || strings.HasPrefix(s, path+".") }) {
			t.Errorf("%s has no case", path)
		}
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	comments(t, "", document.Content[0])
}

// comments checks that each key has a comment, above it or above its group: keys
// that are told about together follow each other with no line between.
func comments(t *testing.T, prefix string, n *yaml.Node) {
	t.Helper()
	told, last := false, 0
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		told = key.HeadComment != "" || told && key.Line == last+1
		children := value.Kind == yaml.MappingNode && len(value.Content) > 0
		// What says itself, at its place.
		plain := slices.Contains(
			[]string{"enabled", "labels", "annotations", "type", "port", "name", "resources"},
			key.Value,
		)
		if !told && !plain && !children {
			t.Errorf("%s%s has no comment", prefix, key.Value)
		}
		if children && !told {
			comments(t, prefix+key.Value+".", value)
		}
		last = end(value)
	}
}

// end is the last line of a value.
func end(n *yaml.Node) int {
	line := n.Line
	for _, c := range n.Content {
		line = max(line, end(c))
	}
	return line
}

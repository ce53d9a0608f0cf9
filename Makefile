VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
OUTPUT   ?= waitpoint_exporter
BRANCH   ?= $(shell git rev-parse --abbrev-ref HEAD 2>/dev/null)
PKG      := github.com/prometheus/common/version
LDFLAGS  := -s -w -X $(PKG).Version=$(VERSION) -X $(PKG).Revision=$(REVISION) -X $(PKG).Branch=$(BRANCH)

.PHONY: build test lint demo ci bench rules

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(OUTPUT) .

test:
	go test -race ./...

lint:
	.ci/lint

demo:
	go run . --demo

ci:
	.ci/run

bench:
	go run ./test/bench
	go test -run '^$$' -bench . -benchmem ./client ./collector/...

# The copies of rules and dashboards: the chart's, and the rules as the Prometheus
# operator wants them. go test ./deploy/helm holds them to their sources.
rules:
	cp deploy/prometheus/alerts.yml deploy/prometheus/recording.yml dashboards/*.json deploy/helm/waitpoint-exporter/files
	{ echo '# Made by make rules from deploy/prometheus.'; \
	  echo 'apiVersion: monitoring.coreos.com/v1'; echo 'kind: PrometheusRule'; \
	  echo 'metadata:'; echo '  name: waitpoint-exporter'; echo 'spec:'; echo '  groups:'; \
	  sed -n '/^groups:/,$$p' deploy/prometheus/recording.yml | sed '1d; s/^/  /'; \
	  sed -n '/^groups:/,$$p' deploy/prometheus/alerts.yml | sed '1d; s/^/  /'; \
	} > deploy/kubernetes/base/prometheusrule.yaml

# Built on the builder's own platform; Go compiles for the image's.
ARG GO_IMAGE=docker.io/library/golang:1.26
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# Only what is compiled: a key in deploy/compose/.env is in no layer.
COPY *.go ./
COPY client client
COPY collector collector
COPY deploy/prometheus deploy/prometheus
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=unknown
ARG REVISION=unknown
ARG BRANCH=unknown
ARG BUILD_DATE=unknown
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -ldflags "-s -w \
    -X github.com/prometheus/common/version.Version=${VERSION} \
    -X github.com/prometheus/common/version.Revision=${REVISION} \
    -X github.com/prometheus/common/version.Branch=${BRANCH} \
    -X github.com/prometheus/common/version.BuildDate=${BUILD_DATE}" \
    -o /waitpoint_exporter .

# Nothing but the binary and the certificates: no shell, nothing to write to.
# There is no HEALTHCHECK, since flags may change the address: give the one that goes
# with yours, ["/waitpoint_exporter", "--web.health-check", …].
FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
ARG BUILD_DATE=unknown
LABEL org.opencontainers.image.title="waitpoint_exporter" \
      org.opencontainers.image.description="Prometheus exporter for Trigger.dev waitpoint tokens" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${BUILD_DATE}"
COPY LICENSE /LICENSE
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /waitpoint_exporter /waitpoint_exporter
# A number, so that Kubernetes can tell that it is not root.
USER 65534:65534
EXPOSE 10210
ENTRYPOINT ["/waitpoint_exporter"]

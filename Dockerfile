# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
ARG VERSION=unknown
ARG REVISION=unknown
ARG BRANCH=unknown
ARG BUILD_DATE=unknown
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w \
    -X github.com/prometheus/common/version.Version=${VERSION} \
    -X github.com/prometheus/common/version.Revision=${REVISION} \
    -X github.com/prometheus/common/version.Branch=${BRANCH} \
    -X github.com/prometheus/common/version.BuildDate=${BUILD_DATE}" \
    -o /waitpoint_exporter .

# Nothing but the binary and the certificates: no shell, nothing to write to.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /waitpoint_exporter /waitpoint_exporter
USER 65534:65534
EXPOSE 10210
ENTRYPOINT ["/waitpoint_exporter"]

package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"

	"waitpoint_exporter/client"

	"github.com/prometheus/common/config"
)

// Transport returns a new transport: the client's own, changed by the environment's
// HTTP settings. Certificates and headers are read again when their files change. If a
// file blocks, a request waits for it until the request's context ends.
func Transport(ctx context.Context, cfg config.HTTPClientConfig) (http.RoundTripper, error) {
	ctx, cancel := withTimeout(ctx, loadTimeout)
	defer cancel()
	if err := cfg.TLSConfig.Validate(); err != nil {
		return nil, err
	}
	// Files are passed as secrets of a secret manager, so that reading them ends with
	// ctx.
	tlsConfig := cfg.TLSConfig
	tlsConfig.CARef, tlsConfig.CAFile = tlsConfig.CAFile, ""
	tlsConfig.CertRef, tlsConfig.CertFile = tlsConfig.CertFile, ""
	tlsConfig.KeyRef, tlsConfig.KeyFile = tlsConfig.KeyFile, ""
	if tlsConfig.CARef != "" {
		if ca, err := fileSecret(tlsConfig.CARef).Fetch(ctx); err == nil &&
			!x509.NewCertPool().AppendCertsFromPEM([]byte(ca)) {
			return nil, fmt.Errorf("no certificate in %s", tlsConfig.CARef)
		}
	}
	settings, err := config.NewTLSConfigWithContext(ctx, &tlsConfig, config.WithSecretManager(fileSecrets{}))
	if err != nil {
		return nil, err
	}
	build := func(settings *tls.Config) (http.RoundTripper, error) {
		transport := client.NewTransport()
		transport.Proxy, transport.ProxyConnectHeader = cfg.Proxy(), cfg.GetProxyConnectHeader()
		transport.TLSClientConfig, transport.ForceAttemptHTTP2 = settings, cfg.EnableHTTP2
		if cfg.HTTPHeaders == nil {
			return transport, nil
		}
		return newReady(cfg.HTTPHeaders, config.NewHeadersRoundTripper(cfg.HTTPHeaders, transport)), nil
	}
	ca, cert, key := cfg.TLSConfig.CAFile, cfg.TLSConfig.CertFile, cfg.TLSConfig.KeyFile
	if ca == "" && cert == "" && key == "" {
		return build(settings)
	}
	return config.NewTLSRoundTripperWithContext(ctx, settings, config.TLSRoundTripperSettings{
		CA: source(cfg.TLSConfig.CA, ca), Cert: source(cfg.TLSConfig.Cert, cert),
		Key: source(string(cfg.TLSConfig.Key), key),
	}, build)
}

// source returns where a certificate or a key is read from, nil if there is none.
func source(text, file string) config.SecretReader {
	switch {
	case file != "":
		return fileSecret(file)
	case text != "":
		return config.NewInlineSecret(text)
	}
	return nil
}

// fileSecrets returns the content of files by name.
type fileSecrets struct{}

func (fileSecrets) Fetch(ctx context.Context, path string) (string, error) {
	return fileSecret(path).Fetch(ctx)
}

// fileSecret is a file with a certificate or a key.
type fileSecret string

func (s fileSecret) Fetch(ctx context.Context) (string, error) {
	ctx, cancel := withTimeout(ctx, loadTimeout) // A handshake's context may have no deadline.
	defer cancel()
	content, err := files.whole(ctx, string(s))
	return strings.TrimSpace(string(content)), err
}

func (s fileSecret) Description() string { return "file " + string(s) }

func (fileSecret) Immutable() bool { return false }

// ready is a transport that waits until each header file can be read, since next reads
// them without the request's context.
type ready struct {
	files []string
	next  http.RoundTripper
}

func newReady(headers *config.Headers, next http.RoundTripper) ready {
	r := ready{next: next}
	for _, header := range headers.Headers {
		r.files = append(r.files, header.Files...)
	}
	return r
}

func (r ready) RoundTrip(req *http.Request) (*http.Response, error) {
	for _, path := range r.files {
		if _, err := files.whole(req.Context(), path); err != nil {
			return nil, err
		}
	}
	return r.next.RoundTrip(req)
}

// CloseIdleConnections closes the idle connections of next.
func (r ready) CloseIdleConnections() {
	if next, ok := r.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

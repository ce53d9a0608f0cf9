package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
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
	var ca config.SecretReader
	if tlsConfig.CARef != "" {
		ca = caFile{fileSecret(tlsConfig.CARef)}
		if _, err := ca.Fetch(ctx); err != nil {
			return nil, err
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
		return withHeaders{transport, cfg.HTTPHeaders.Headers}, nil
	}
	changing := config.TLSRoundTripperSettings{
		CA: ca, Cert: reader(tlsConfig.CertRef), Key: reader(tlsConfig.KeyRef),
	}
	if changing == (config.TLSRoundTripperSettings{}) {
		return build(settings)
	}
	return config.NewTLSRoundTripperWithContext(ctx, settings, changing, build)
}

// CheckProxyVariables returns an error for a variable with a proxy that is no URL, such
// as one with an end of line: net/http would ignore it, and the key would go past the
// proxy. It does not quote the value, which may contain a password.
func CheckProxyVariables() error {
	for _, names := range [][]string{{"HTTPS_PROXY", "https_proxy"}, {"HTTP_PROXY", "http_proxy"}} {
		i := slices.IndexFunc(names, func(name string) bool { return os.Getenv(name) != "" })
		if i < 0 {
			continue
		}
		value, reason := os.Getenv(names[i]), "is no URL"
		switch {
		case validProxy(value):
			continue
		case value != strings.TrimFunc(value, func(r rune) bool { return r <= ' ' }):
			reason = "has white space or an end of line around it"
		case value != strings.Trim(value, "\"'`"):
			reason = "has quotes around it"
		}
		return fmt.Errorf("$%s %s: want the URL of a proxy alone, http://host:port", names[i], reason)
	}
	return nil
}

// validProxy reports whether a value is the URL of a proxy, which needs no scheme.
func validProxy(value string) bool {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	return err == nil && u.Hostname() != "" && !strings.ContainsAny(u.Host, "\"'`")
}

// reader returns what reads a file, nil if there is none.
func reader(file string) config.SecretReader {
	if file == "" {
		return nil
	}
	return fileSecret(file)
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
	content, err := files.read(ctx, string(s), false)
	return strings.TrimSpace(string(content)), err
}

func (s fileSecret) Description() string { return "file " + string(s) }

func (fileSecret) Immutable() bool { return false }

// caFile is a file with certificates of authorities.
type caFile struct{ fileSecret }

func (s caFile) Fetch(ctx context.Context) (string, error) {
	ca, err := s.fileSecret.Fetch(ctx)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM([]byte(ca)) {
		err = &fs.PathError{Op: "read", Path: string(s.fileSecret), Err: errors.New("has no certificate")}
	}
	return ca, err
}

// withHeaders is a transport that adds headers to requests. The library's would read
// their files without the request's context.
type withHeaders struct {
	*http.Transport

	headers map[string]config.Header
}

// RoundTrip implements http.RoundTripper.
func (t withHeaders) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	req = req.Clone(ctx)
	for name, header := range t.headers {
		req.Header[name] = append(req.Header[name], header.Values...)
		for _, secret := range header.Secrets {
			req.Header.Add(name, string(secret))
		}
		for _, path := range header.Files {
			content, err := files.read(ctx, path, false)
			if err != nil {
				return nil, err
			}
			req.Header.Add(name, strings.TrimSpace(string(content)))
		}
	}
	return t.Transport.RoundTrip(req)
}

package config

import (
	"crypto/tls"
	"net/http"

	"waitpoint_exporter/client"

	"github.com/prometheus/common/config"
)

// Transport returns a new transport by the environment's HTTP settings: the
// client's own, but for what is set. Certificates are read again when their files
// change.
func (e Environment) Transport() (http.RoundTripper, error) {
	cfg := e.HTTP
	settings, err := config.NewTLSConfig(&cfg.TLSConfig)
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
		return config.NewHeadersRoundTripper(cfg.HTTPHeaders, transport), nil
	}
	ca, cert, key := cfg.TLSConfig.CAFile, cfg.TLSConfig.CertFile, cfg.TLSConfig.KeyFile
	if ca == "" && cert == "" && key == "" {
		return build(settings)
	}
	return config.NewTLSRoundTripper(settings, config.TLSRoundTripperSettings{
		CA: source(cfg.TLSConfig.CA, ca), Cert: source(cfg.TLSConfig.Cert, cert), Key: source(string(cfg.TLSConfig.Key), key),
	}, build)
}

// source is where a certificate or a key comes from, nil if there is none.
func source(text, file string) config.SecretReader {
	switch {
	case file != "":
		return config.NewFileSecret(file)
	case text != "":
		return config.NewInlineSecret(text)
	}
	return nil
}

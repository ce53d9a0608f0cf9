package config

import (
	"net/http"
	"time"

	"waitpoint_exporter/client"

	"github.com/prometheus/common/config"
)

// The service closes idle connections at 65 s; whoever closes first avoids the race.
const idleTimeout = 55 * time.Second

// Transport returns a new transport by the environment's HTTP settings, nil if
// it has none. Certificates are read again when their files change.
func (e Environment) Transport() (http.RoundTripper, error) {
	if e.HTTP == nil {
		return nil, nil
	}
	return config.NewRoundTripperFromConfig(*e.HTTP, "trigger",
		config.WithIdleConnTimeout(idleTimeout), config.WithDialContextFunc(client.NewTransport().DialContext))
}

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// healthTimeout is how long the answer may take.
const healthTimeout = 5 * time.Second

// AskHealth requests the page at path from the exporter that runs with the same flags.
// It returns nil if the exporter answers 200, or requires a user or a client
// certificate.
func (f *Flags) AskHealth(ctx context.Context, path string) error {
	if *f.toolkit.WebSystemdSocket {
		return errors.New("--web.health-check: needs an address, not a socket from systemd")
	}
	address := (*f.toolkit.WebListenAddresses)[0]
	host, name, err := net.SplitHostPort(address)
	port, _ := portNumber(name) // Check has accepted it.
	if err != nil || port == 0 {
		return fmt.Errorf("--web.health-check: %q cannot be asked: want HOST:PORT", address)
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	page := url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: path}
	err = ask(ctx, page)
	if err != nil && *f.toolkit.WebConfigFile != "" {
		page.Scheme = "https"
		err = ask(ctx, page)
	}
	return err
}

func ask(ctx context.Context, page url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, page.String(), http.NoBody)
	if err != nil {
		return err
	}
	// The certificate is for this host's public name, which is not used here.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if refused, ok := errors.AsType[*net.OpError](err); ok && refused.Op == "remote error" {
		return nil // A TLS alert: it requires a certificate.
	}
	if err != nil {
		return fmt.Errorf("get %s: %w", &page, err)
	}
	_ = answer.Body.Close() // Only the status matters.
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("get %s: %s", &page, answer.Status)
	}
	return nil
}

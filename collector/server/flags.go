package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"waitpoint_exporter/client"
)

const defaultPort = "10210"

// Flags say where and how to serve. They are valid once Check has returned nil.
type Flags struct {
	// MetricsPath is the path of the metrics, below the route prefix.
	MetricsPath string
	// EnableLifecycle allows a request to reload the configuration.
	EnableLifecycle bool
	// HealthCheck requests a running exporter's health, instead of serving.
	HealthCheck bool
	// ExternalURL is the URL at which users reach the pages, without a slash at its
	// end.
	ExternalURL *url.URL
	// RoutePrefix begins the path of each page. It starts with a slash and does not end
	// with one; it is "/" if there is no prefix.
	RoutePrefix string

	externalURL string
	toolkit     *toolkit.FlagConfig
}

// AddFlags declares the flags that begin with --web.
func AddFlags(app *kingpin.Application) *Flags {
	f := &Flags{}
	app.Flag("web.telemetry-path", "Path of the metrics.").Default("/metrics").StringVar(&f.MetricsPath)
	app.Flag("web.enable-lifecycle", "Reload the configuration on POST /-/reload.").BoolVar(&f.EnableLifecycle)
	app.Flag("web.health-check",
		"Ask the exporter that runs with the same flags whether it serves, and exit: 0 if it does, 1 if not.").
		BoolVar(&f.HealthCheck)
	app.Flag("web.external-url", "URL under which users reach the exporter, for example behind a reverse proxy. "+
		"By default it is made of the host's name, the first port and the route prefix.").
		PlaceHolder("<URL>").StringVar(&f.externalURL)
	app.Flag("web.route-prefix", "Prefix of the paths that are served. By default the path of --web.external-url.").
		PlaceHolder("<path>").StringVar(&f.RoutePrefix)
	f.toolkit = kingpinflag.AddFlags(app, ":"+defaultPort)
	return f
}

// Check validates the flags; an error names the flag. The path of the metrics must
// differ from those of endpoints.
func (f *Flags) Check(endpoints ...string) error {
	if !isPath(f.MetricsPath) || slices.Contains(endpoints, f.MetricsPath) {
		return fmt.Errorf("--web.telemetry-path: %q must be a path such as /metrics that no other endpoint has",
			f.MetricsPath)
	}
	if err := toolkit.Validate(*f.toolkit.WebConfigFile); err != nil {
		return fmt.Errorf("--web.config.file: %w", err)
	}
	for _, address := range *f.toolkit.WebListenAddresses {
		if err := checkAddress(address); err != nil && !*f.toolkit.WebSystemdSocket {
			return fmt.Errorf("--web.listen-address: %q %w", address, err)
		}
	}
	var err error
	if f.ExternalURL, err = f.external(); err != nil {
		return fmt.Errorf("--web.external-url: %w", err)
	}
	flag, prefix := "--web.route-prefix", f.RoutePrefix
	if prefix == "" {
		flag, prefix = "--web.external-url", f.ExternalURL.Path
	}
	if f.RoutePrefix = "/" + strings.Trim(prefix, "/"); !isPath(f.RoutePrefix) {
		return fmt.Errorf("%s: %q must be a path such as /waitpoints", flag, prefix)
	}
	if f.externalURL == "" {
		f.ExternalURL.Path = strings.TrimSuffix(f.RoutePrefix, "/")
	}
	return nil
}

// Listening describes the listeners, for the log.
func (f *Flags) Listening() string {
	if *f.toolkit.WebSystemdSocket {
		return "systemd socket"
	}
	return strings.Join(*f.toolkit.WebListenAddresses, ",")
}

// isPath reports whether p is a clean path that is the same in requests and patterns.
func isPath(p string) bool {
	return (&url.URL{Path: p}).String() == p && path.Clean(p) == p && strings.HasPrefix(p, "/")
}

// checkAddress refuses an address without a port, for which the system would choose a
// random port, on every interface, and one with a port that cannot exist.
func checkAddress(address string) error {
	if inner, ok := strings.CutPrefix(address, "vsock://"); ok {
		_, port, _ := net.SplitHostPort(inner)
		if _, err := strconv.ParseUint(port, 10, 32); err != nil {
			return fmt.Errorf("is not vsock://:PORT: want an address such as vsock://:%s", defaultPort)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	_, wrong := portNumber(port)
	last := strings.LastIndexByte(address, ':')
	switch {
	case err == nil && port == "":
		return fmt.Errorf("has no port: want %s", net.JoinHostPort(host, defaultPort))
	case err == nil && wrong != nil:
		return fmt.Errorf("has the port %q: want a number from 0 to 65535 or the name of a service", port)
	case err == nil && client.LooksLikeKey(host):
		return errors.New("is a key: want HOST:PORT")
	case err == nil:
		return nil
	case last >= 0 && isIPv6(address[:last]) && isPort(address[last+1:]):
		return fmt.Errorf("has an IPv6 address without brackets: want [%s]:%s", address[:last], address[last+1:])
	case isIPv6(address):
		return fmt.Errorf("has no port: want [%s]:%s", address, defaultPort)
	case isPort(address):
		return fmt.Errorf("has no colon: want :%s", address)
	case address == "" || strings.ContainsAny(address, ":/ "):
		return fmt.Errorf("is not HOST:PORT: want an address such as :%s or 127.0.0.1:%s", defaultPort, defaultPort)
	}
	return fmt.Errorf("has no port: want %s:%s", address, defaultPort)
}

// portNumber returns the number of a port, which may be the name of a service.
func portNumber(port string) (int, error) {
	address, err := net.ResolveTCPAddr("tcp", ":"+port)
	if err != nil {
		return 0, err
	}
	return address.Port, nil
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// external returns the external URL. Its errors never quote the URL, which may contain
// a password.
func (f *Flags) external() (*url.URL, error) {
	if f.externalURL == "" {
		return f.ownURL()
	}
	u, err := url.Parse(f.externalURL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("not a URL: want http:// or https:// with a host")
	case u.User != nil:
		return nil, errors.New("has user information: want none")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("has a query or a fragment: want none")
	case slices.ContainsFunc(strings.Split(f.externalURL, "/"), client.LooksLikeKey):
		return nil, errors.New("has a key in it: want none, everybody can see this URL")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

// ownURL returns the URL with the host's name and the first listen address's port.
func (f *Flags) ownURL() (*url.URL, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("read the host's name: %w", err)
	}
	port := defaultPort
	_, first, err := net.SplitHostPort((*f.toolkit.WebListenAddresses)[0])
	if err == nil && !*f.toolkit.WebSystemdSocket {
		number, _ := portNumber(first) // Check has accepted it.
		port = strconv.Itoa(number)
	}
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}, nil
}

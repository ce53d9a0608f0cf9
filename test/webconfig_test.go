package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// An authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.pem, a.key = sign(t, template, template, nil)
	block, _ := pem.Decode(a.pem)
	var err error
	if a.certificate, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue returns a certificate for 127.0.0.1 and its key.
func (a *authority) issue(t *testing.T, serial int64) (certificate, key []byte) {
	t.Helper()
	certificate, private := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter:    time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.certificate, a.key)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// sign creates a key and a certificate for it, which is self-signed if signer is nil.
func sign(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

// directory returns a function that writes files into an empty directory, and its path.
func directory(t *testing.T) (write func(name, text string), dir string) {
	t.Helper()
	dir = t.TempDir()
	return func(name, text string) {
		t.Helper()
		// Renamed, so that a reader never gets an incomplete file.
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}, dir
}

func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// secureClient returns a client that trusts an authority and has its own certificates.
func secureClient(t *testing.T, a *authority, own ...tls.Certificate) *http.Client {
	t.Helper()
	client := newClient(t)
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	transport := client.Transport.(*http.Transport)
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, Certificates: own, MinVersion: tls.VersionTLS12}
	transport.ForceAttemptHTTP2 = true
	return client
}

// A reply is an answer with its body.
type reply struct {
	code, proto int
	challenge   string
	serial      int64 // Of the server's certificate.
	body        string
}

// login requests a URL with a user and a password, or without if both are empty.
func login(t *testing.T, client *http.Client, url, user, password string) (reply, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if user+password != "" {
		r.SetBasicAuth(user, password)
	}
	answer, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return reply{
		answer.StatusCode, answer.ProtoMajor, answer.Header.Get("WWW-Authenticate"),
		answer.TLS.PeerCertificates[0].SerialNumber.Int64(), string(body),
	}, err
}

// TestWebConfig runs the built program with TLS and users. It checks that requests
// without both are refused, also while the file is broken, and that replaced files take
// effect with the next connection or request.
func TestWebConfig(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	write, dir := directory(t)
	replace := func(serial int64) {
		certificate, key := a.issue(t, serial)
		// The program reads the two one after the other, and refuses a pair that does not match.
		write("server.pem", string(certificate))
		write("server.key", string(key))
	}
	replace(100)
	const section = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
	write("web.yml", section+"basic_auth_users: {prometheus: "+hash(t, "right")+"}\n")
	p := startProcess(t, nil, "--demo", "--log.level=debug", "--web.config.file="+filepath.Join(dir, "web.yml"))
	url := "https://" + p.address
	client := secureClient(t, a)

	for _, path := range []string{
		"/metrics", "/tokens", "/", "/runbook", "/-/healthy", "/-/ready", "/-/reload",
		"/nope",
	} {
		for _, who := range [][2]string{
			{"", ""},
			{"prometheus", "wrong"},
			{"prometheus", ""},
			{"other", "right"},
			{"", "right"},
		} {
			answer, err := login(t, client, url+path, who[0], who[1])
			if err != nil {
				t.Fatal(err)
			}
			if answer.code != http.StatusUnauthorized || answer.challenge != "Basic" ||
				answer.body != "Unauthorized\n" {
				t.Errorf("%s as %q: %d %q", path, who, answer.code, answer.body)
			}
		}
	}
	for _, path := range []string{"/metrics", "/tokens", "/"} {
		answer, err := login(t, client, url+path, "prometheus", "right")
		if err != nil {
			t.Fatal(err)
		}
		if answer.code != http.StatusOK || len(answer.body) < 500 || answer.proto != 2 {
			t.Errorf("%s with the right password: %d, %d bytes, HTTP/%d", path, answer.code, len(answer.body),
				answer.proto)
		}
	}
	if code, body, err := p.get(t.Context(), newClient(t), "/metrics"); err != nil ||
		code != http.StatusBadRequest || strings.Contains(body, "triggerdev") {
		t.Errorf("without TLS: %d %q, %v", code, body, err)
	}
	old := secureClient(t, a)
	old.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS10
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS11
	if _, err := login(t, old, url, "prometheus", "right"); err == nil || !strings.Contains(err.Error(),
		"protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	if _, err := login(t, secureClient(t, newAuthority(t)), url, "prometheus", "right"); err == nil {
		t.Error("the certificate is not the authority's")
	}

	serial := func(c *http.Client) int64 {
		answer, err := login(t, c, url+"/-/healthy", "prometheus", "right")
		if err != nil {
			t.Fatal(err)
		}
		return answer.serial
	}
	replace(101)
	if n := serial(client); n != 100 {
		t.Errorf("an open connection has certificate %d", n)
	}
	if n := serial(secureClient(t, a)); n != 101 {
		t.Errorf("a new connection has certificate %d, want 101, which has replaced it", n)
	}

	write("web.yml", section+"basic_auth_users: {prometheus: "+hash(t, "newer")+"}\n")
	for password, want := range map[string]int{"right": http.StatusUnauthorized, "newer": http.StatusOK} {
		if answer, err := login(t, client, url+"/metrics", "prometheus", password); err != nil || answer.code != want {
			t.Errorf("password %s, with another one in the file now: %d, %v", password, answer.code, err)
		}
	}
	for _, broken := range []string{"basic_auth_users: [", section + "nope: 1\n"} {
		write("web.yml", broken)
		for _, c := range []*http.Client{client, secureClient(t, a)} {
			if answer, err := login(t, c, url+"/metrics", "", ""); err == nil &&
				(answer.code != http.StatusInternalServerError || strings.Contains(answer.body, "triggerdev")) {
				t.Errorf("with a broken file: %d %q", answer.code, answer.body)
			}
		}
	}
	write("web.yml", section+"basic_auth_users: {prometheus: "+hash(t, "right")+"}\n")
	if n := serial(secureClient(t, a)); n != 101 {
		t.Errorf("with a good file again: certificate %d", n)
	}
	// The client's HTTP/2 connections are idle but still open.
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if <-p.ended; p.err != nil || strings.Contains(p.logs.String(), "cut off") {
		t.Errorf("after the signal: %v: %s", p.err, p.logs)
	}
	for _, secret := range []string{"right", "newer", "$2a$", "PRIVATE"} {
		if strings.Contains(p.logs.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// TestClientCertificates checks that no request is answered without a certificate of the
// configured authority.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a, clients := newAuthority(t), newAuthority(t)
	write, dir := directory(t)
	certificate, key := a.issue(t, 100)
	write("server.pem", string(certificate))
	write("server.key", string(key))
	write("clients.pem", string(clients.pem))
	write("web.yml", "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: "+
		"RequireAndVerifyClientCert, client_ca_file: clients.pem}\n")
	p := startProcess(t, nil, "--demo", "--web.config.file="+filepath.Join(dir, "web.yml"))
	pair := func(a *authority) tls.Certificate {
		certificate, err := tls.X509KeyPair(a.issue(t, 200))
		if err != nil {
			t.Fatal(err)
		}
		return certificate
	}
	for name, client := range map[string]*http.Client{
		"no certificate":              secureClient(t, a),
		"one of another authority":    secureClient(t, a, pair(newAuthority(t))),
		"one of the server's instead": secureClient(t, a, pair(a)),
	} {
		for _, path := range []string{"/metrics", "/tokens", "/"} {
			if answer, err := login(t, client, "https://"+p.address+path, "", ""); err == nil {
				t.Errorf("%s, %s: %d", path, name, answer.code)
			}
		}
	}
	for _, path := range []string{"/metrics", "/tokens", "/"} {
		answer, err := login(t, secureClient(t, a, pair(clients)), "https://"+p.address+path, "", "")
		if err != nil || answer.code != http.StatusOK {
			t.Errorf("%s with a certificate: %d, %v", path, answer.code, err)
		}
	}
}

// TestBadWebConfig checks that a file that would not protect the program is refused at
// the start, in one line that names the flag and shows no secret.
func TestBadWebConfig(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	write, dir := directory(t)
	certificate, key := a.issue(t, 100)
	_, another := a.issue(t, 101)
	write("server.pem", string(certificate))
	write("server.key", string(key))
	write("another.key", string(another))
	const pair = "cert_file: server.pem, key_file: server.key"
	for name, tc := range map[string]struct{ text, want string }{
		"not YAML": {"tls_server_config: [", "yaml: line 1: did not find expected node content"},
		"unknown field": {
			"basic_auth_user: {a: b}",
			"yaml: unmarshal errors:   line 1: field basic_auth_user not found in type web.Config",
		},
		"no certificate": {
			"tls_server_config: {cert_file: nope.pem, key_file: server.key}",
			"failed to read cert_file (" + dir + "/nope.pem): open " + dir + "/nope.pem: no such file or directory",
		},
		"no key": {"tls_server_config: {cert_file: server.pem}", "missing one of key or key_file"},
		"another's key": {
			"tls_server_config: {cert_file: server.pem, key_file: another.key}",
			"failed to load X509KeyPair: tls: private key does not match public key",
		},
		"certificate for a key": {
			"tls_server_config: {cert_file: server.pem, key_file: server.pem}",
			"failed to load X509KeyPair: tls: found a certificate rather than a key in the PEM for the private key",
		},
		"unknown version": {
			"tls_server_config: {" + pair + ", min_version: TLS14}",
			"unknown TLS version: TLS14",
		},
		"unknown cipher": {"tls_server_config: {" + pair + ", cipher_suites: [ROT13]}", "unknown cipher: ROT13"},
		"unknown policy": {
			"tls_server_config: {" + pair + ", client_auth_type: Perhaps}",
			"invalid ClientAuth: Perhaps",
		},
		"clients, no policy": {
			"tls_server_config: {" + pair + ", client_ca_file: server.pem}",
			"client CA's have been configured without a Client Auth Policy",
		},
		"password not hashed": {
			"basic_auth_users: {a: sEcReT-sEcReT}",
			"crypto/bcrypt: hashedSecret too short to be a bcrypted password",
		},
		"unknown header": {"http_server_config: {headers: {X: y}}", `HTTP header "X" can not be configured`},
	} {
		t.Run(name, func(t *testing.T) {
			write("web.yml", tc.text+"\n")
			p := launch(t, nil, "--demo", "--web.listen-address=127.0.0.1:0",
				"--web.config.file="+filepath.Join(dir, "web.yml"))
			<-p.ended
			want := program + ": error: --web.config.file: " + tc.want + "\n"
			if got := p.logs.String(); got != want || p.cmd.ProcessState.ExitCode() != 2 {
				t.Errorf("exit code %d\ngot  %swant %s", p.cmd.ProcessState.ExitCode(), got, want)
			}
		})
	}
}

// Finds out who refused a request, and gives advice.

package client

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"strings"
)

var errProxyRefused = errors.New("the proxy wants a login")

const adviceProxy = "give the proxy's user and password in proxy_url or HTTPS_PROXY, or let the exporter past it"

// keyRefused matches the service's messages about keys and branches.
var keyRefused = regexp.MustCompile(`(?i)^(invalid|invalid or missing|expired|revoked) api key|branch`)

// byService reports whether a refusal is the service's. A gateway may refuse in JSON, too, so
// it has to have what the service's refusals have: its rate limit, or its words.
func (c *Client) byService(resp *http.Response, refused wireRefusal) bool {
	date, _ := http.ParseTime(resp.Header.Get("Date")) // An error leaves it zero.
	limit := readRateLimit(resp.Header, cmp.Or(date, c.options.Now()))
	switch status := resp.StatusCode; {
	case refused.Error == "", status == http.StatusProxyAuthRequired, resp.Header.Get("WWW-Authenticate") != "":
		return false
	case !limit.Reset.IsZero():
		return true
	case status == http.StatusUnauthorized:
		return keyRefused.MatchString(refused.Error)
	case status == http.StatusForbidden:
		return refused.Type == "authorization" || refused.Error == "Account suspended"
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		return refused.Error == "Query Error"
	case status >= 500:
		return refused.Error == "Internal Server Error" || refused.Error == "Something went wrong"
	}
	return true
}

// statusAdvice returns the advice for a refusal by the service itself.
func statusAdvice(status int, message, key, branch string) string {
	switch status {
	case http.StatusUnauthorized:
		switch {
		case strings.Contains(message, "x-trigger-branch"):
			return "a preview key needs a branch: --trigger.preview-branch is missing"
		case branch != "" && strings.Contains(message, "branch"):
			return "check --trigger.preview-branch: the service knows no such branch"
		}
		name := "the key, whose prefix is none of the known ones,"
		if prefix := keyPrefix(key); prefix != "" {
			name = "the " + prefix + "… key"
		}
		return name + " is wrong, expired or revoked, or of another server than the API URL's"
	case http.StatusForbidden:
		return "the key's preset does not let it list tokens: make a key with the preset \"No restrictions\"; " +
			"or else the account is suspended or the exporter's address blocked"
	case http.StatusInternalServerError:
		return "if this persists, the project may be on the service's old engine (v1), which cannot list tokens"
	}
	return sharedAdvice(status)
}

// sharedAdvice returns advice that is valid no matter who refused the request.
func sharedAdvice(status int) string {
	switch status {
	case http.StatusNotFound:
		return "check the API URL: no token list there"
	case http.StatusRequestHeaderFieldsTooLarge:
		return "the query, the key or the branch is too long for the server, or for a proxy in front of it"
	}
	return ""
}

// noAuthorization is the service's message for a request without a key.
const noAuthorization = "No authorization header provided"

// strangerAdvice returns the advice and the cause for a refusal by a proxy, firewall
// or gateway, or because of one.
func strangerAdvice(resp *http.Response, message string) (advice string, stranger error) {
	stranger = errors.New("the answer is not the service's own")
	if isHTML(resp) {
		stranger = errors.New("the answer is an HTML page, not the service's own")
	}
	const past = ": let the exporter past it, or check the API URL"
	switch status := resp.StatusCode; {
	case status == http.StatusProxyAuthRequired:
		return adviceProxy, errProxyRefused
	case status == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") != "":
		return "a proxy or gateway in front of the API wants a login of its own" + past, stranger
	case status == http.StatusUnauthorized && message == noAuthorization:
		return "the key did not arrive: a proxy or gateway in front of the API removes the Authorization header" +
			past, nil
	case status == http.StatusNetworkAuthenticationRequired:
		return "the network between here and the API wants a login" + past, stranger
	case sharedAdvice(status) != "":
		return sharedAdvice(status), nil
	case statusReason(status) == ReasonServer:
		return "a firewall, proxy or gateway in front of the API answered in its place: " +
			"check that it reaches the API, and the API URL", stranger
	}
	return "a firewall, proxy or gateway in front of the API refused the request" + past, stranger
}

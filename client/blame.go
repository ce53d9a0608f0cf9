// Finds out who refused a request, and gives advice.

package client

import (
	"errors"
	"net/http"
	"strings"
)

var errProxyRefused = errors.New("the proxy wants a login")

const adviceProxy = "give the proxy's user and password in proxy_url or HTTPS_PROXY, or let the exporter past it"

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
		return "the query is too long: ask for fewer tags at once"
	}
	return ""
}

// strangerAdvice returns the advice and the cause for a refusal by a proxy, firewall
// or gateway.
func strangerAdvice(resp *http.Response) (advice string, stranger error) {
	stranger = errors.New("the answer is not the service's own")
	if isHTML(resp) {
		stranger = errors.New("the answer is an HTML page, not the service's own")
	}
	switch status := resp.StatusCode; {
	case status == http.StatusProxyAuthRequired:
		return adviceProxy, errProxyRefused
	case status == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") != "":
		return "a proxy or gateway in front of the API wants a login of its own: " +
			"let the exporter past it, or check the API URL", stranger
	case sharedAdvice(status) != "":
		return sharedAdvice(status), nil
	case statusReason(status) == ReasonAuth, statusReason(status) == ReasonBadRequest:
		return "a firewall, proxy or gateway in front of the API refused the request: " +
			"let the exporter past it, or check the API URL", stranger
	}
	return "", nil
}

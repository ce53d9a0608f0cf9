package simulator_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"waitpoint_exporter/client/simulator"
)

// The service on a port of its own, with a token that waits.
func Example() {
	service := simulator.New(simulator.Options{})
	production := service.Environment(simulator.EnvironmentOptions{Key: "tr_prod_sk_test"})
	production.Add(simulator.Token{ID: "waitpoint_c1", CreatedAt: time.Now().Add(-time.Hour), Tags: []string{"approval"}})
	api := httptest.NewServer(service)
	defer api.Close()

	request, _ := http.NewRequest(http.MethodGet, api.URL+"/api/v1/waitpoints/tokens?filter[status]=COMPLETED",
		nil) //nolint:noctx // Short.
	request.Header.Set("Authorization", "Bearer tr_prod_sk_test")
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(answer.StatusCode, string(body))
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	// Output: 200 {"data":[],"pagination":{}}
}

package simulator_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
)

// A simulated service on its own port, with a WAITING token.
func Example() {
	const key = "tr_prod_sk_test"
	service := simulator.New(simulator.Options{})
	production := service.Environment(simulator.EnvironmentOptions{Key: key})
	production.Add(simulator.Token{ID: "waitpoint_c1", CreatedAt: time.Now(), Tags: []string{"approval"}})
	api := httptest.NewServer(service)
	defer api.Close()

	c, err := client.New(client.Options{APIURL: api.URL, Key: func() (string, error) { return key, nil }})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseIdleConnections()
	for token, err := range c.Tokens(context.Background(), client.ListOptions{}) {
		fmt.Println(token.ID, token.Status, token.Tags, err)
	}
	// Output: waitpoint_c1 WAITING [approval] <nil>
}

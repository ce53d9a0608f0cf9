package client_test

import (
	"context"
	"fmt"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
)

// example returns a client of an environment with three tokens.
func example() *client.Client {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	service := simulator.New(simulator.Options{Now: func() time.Time { return now }})
	service.Environment(simulator.EnvironmentOptions{Key: "tr_prod_sk_example"}).Add(
		simulator.Token{ID: "waitpoint_c1", CreatedAt: now.Add(-3 * time.Hour), Tags: []string{"team:legal"}},
		simulator.Token{
			ID: "waitpoint_c2", CreatedAt: now.Add(-2 * time.Hour), Status: "COMPLETED",
			CompletedAt: now.Add(-time.Hour),
		},
		simulator.Token{ID: "waitpoint_c3", CreatedAt: now.Add(-time.Hour), Tags: []string{"approval", "team:growth"}},
	)
	c, err := client.New(client.Options{
		APIURL:    "https://api.trigger.dev",
		Key:       func() (string, error) { return "tr_prod_sk_example", nil },
		Transport: simulator.Transport(service), // Leave it out to reach the service.
	})
	if err != nil {
		panic(err)
	}
	return c
}

// All WAITING tokens, each once.
func ExampleClient_Tokens() {
	waiting := client.ListOptions{Statuses: []client.Status{client.StatusWaiting}}
	for token, err := range example().Tokens(context.Background(), waiting) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(token.ID, token.CreatedAt.Format(time.TimeOnly), token.Tags)
	}
	// Output:
	// waitpoint_c3 11:00:00 [approval team:growth]
	// waitpoint_c1 09:00:00 [team:legal]
}

// A listing page by page, with the rate limit that each answer reports.
func ExampleClient_Pages() {
	for page, err := range example().Pages(context.Background(), client.ListOptions{PageSize: 2}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, token := range page.Tokens {
			fmt.Println(token.ID, token.Status)
		}
		fmt.Println(page.RateLimit.Remaining, "of", page.RateLimit.Limit, "requests left at", page.Date.Format(time.TimeOnly))
	}
	// Output:
	// waitpoint_c3 WAITING
	// waitpoint_c2 COMPLETED
	// 749 of 750 requests left at 12:00:00
	// waitpoint_c1 WAITING
	// 748 of 750 requests left at 12:00:00
}

// An interrupted walk continues where it stopped.
func ExamplePager() {
	ctx := context.Background()
	first, err := example().Pager(client.ListOptions{PageSize: 2}).Next(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	rest := example().Pager(client.ListOptions{PageSize: 2, After: first.Next})
	for rest.More() {
		page, err := rest.Next(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(page.Tokens), page.Tokens[0].ID)
	}
	// Output: 1 waitpoint_c1
}

// The reason of an error says what to do about it.
func ExampleReasonOf() {
	c, err := client.New(client.Options{
		APIURL:    "https://api.trigger.dev",
		Key:       func() (string, error) { return "tr_prod_sk_revoked", nil },
		Transport: simulator.Transport(simulator.New(simulator.Options{})),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Pager(client.ListOptions{}).Next(context.Background())
	fmt.Println(client.ReasonOf(err))
	// Output: auth
}

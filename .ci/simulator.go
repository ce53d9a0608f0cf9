// Serves the demo's environment as the API does, for what cannot run it inside
// itself: the key is tr_prod_demo. Run from the root:
//
//	go run .ci/simulator.go ADDRESS
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"waitpoint_exporter/client/simulator"
)

func main() {
	service, _ := simulator.Demo()
	server := http.Server{Addr: os.Args[1], Handler: service, ReadHeaderTimeout: time.Minute}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

package main

import (
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// init dumps the heap once, at a signal, into the file $HEAP_DUMP.
func init() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		<-asked
		f, err := os.Create(os.Getenv("HEAP_DUMP"))
		if err != nil {
			panic(err)
		}
		for range 3 { // The second one empties the pools.
			runtime.GC()
		}
		debug.WriteHeapDump(f.Fd())
		_, _ = os.Stderr.WriteString("heap is dumped\n")
	}()
}

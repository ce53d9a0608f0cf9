// Connections that leave no answer lying in memory once it has been read.

package client

import (
	"context"
	"net"
	"time"
)

// DialContext connects like a net.Dialer. What the connection's last answer left
// in a read buffer, such as callback URLs, is wiped before the next read, so
// that an idle connection holds nothing of it.
func DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return wiping{conn}, nil
}

type wiping struct{ net.Conn }

func (w wiping) Read(p []byte) (int, error) {
	clear(p)
	return w.Conn.Read(p)
}

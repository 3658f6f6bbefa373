// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// BridgeSocket is the name, beside the daemon's own socket, of the one at which a
// governed process of another network namespace hands over a listener, for which the
// daemon is the managed network's proxy from then on. The process sends one byte with
// the listener, gets BridgeReady or a sentence that says why not, and keeps the connection
// open for as long as it wants to be served.
const BridgeSocket = "bridge.sock"

// BridgeReady is the answer when the listener is served.
const BridgeReady = "ready"

// PeerOf asks the kernel who is at the other end of a connection. Close the peer.
func PeerOf(c *net.UnixConn) (Peer, error) { return peerOf(c) }

// Close gives up what refers to the process.
func (p *Peer) Close() { p.close() }

// Bridge has the daemon serve a listener as the managed network's proxy (HTTP and
// SOCKS5), from whatever network namespace the calling process is in, until the returned
// connection is closed. The process must be governed.
//
// That root answers is not looked at: in a user namespace nobody can be told from root,
// and whoever answers only learns what clients say to a proxy.
func (c *Client) Bridge(ctx context.Context, l *net.TCPListener) (io.Closer, error) {
	path := filepath.Join(filepath.Dir(c.path), BridgeSocket)
	d, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no managed network: nothing listens on %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("asking for the managed network: %w", err)
	}
	via := d.(*net.UnixConn)
	said, err := handOver(via, l)
	if err != nil {
		via.Close()
		return nil, fmt.Errorf("asking for the managed network: %w", err)
	}
	if said != BridgeReady {
		via.Close()
		return nil, errors.New(said)
	}
	return via, nil
}

func handOver(via *net.UnixConn, l *net.TCPListener) (string, error) {
	file, err := l.File()
	if err != nil {
		return "", err
	}
	defer file.Close()
	_ = via.SetDeadline(time.Now().Add(answerTimeout))
	if _, _, err := via.WriteMsgUnix([]byte{0}, unix.UnixRights(int(file.Fd())), nil); err != nil && !errors.Is(err, unix.EPIPE) {
		return "", err
	}
	said := make([]byte, 1024)
	n, err := via.Read(said)
	if err != nil {
		return "", err
	}
	return string(said[:n]), via.SetDeadline(time.Time{})
}

// SPDX-License-Identifier: Apache-2.0

package egress

import "golang.org/x/sys/unix"

// ended reports whether the other side will send nothing more than what is there.
func ended(fd int, _ bool) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

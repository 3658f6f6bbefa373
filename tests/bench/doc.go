// SPDX-License-Identifier: Apache-2.0

// Package bench measures what Paddock costs: `make bench`. Without
// PADDOCK_BENCH=1 its test runs the same measurements a few times only, to see
// that they work.
//
// No daemon and a daemon cannot be compared process by process: attaching the
// kernel side takes a second. So a run is a row of rounds, each of which
// measures without a daemon, starts one, measures every other state in small
// alternating batches, stops it and takes the kernel side down. The reference of a
// round is the mean of the medians without a daemon before and after it, which
// takes a steady drift of the machine out. Printed is the median of the rounds'
// ratios with the interval in which it lies with 95 % confidence, and, as the
// noise floor, the same for rounds without a daemon among themselves.
package bench

// SPDX-License-Identifier: Apache-2.0

// Package companion is the process of a user that asks the person in front of the
// screen. It follows the approvals of its user, shows each one by the desktop's own
// means, and sends the answer to the daemon, which alone decides whether it counts.
//
// It holds nothing: what is lost with it is still asked, and is refused when nobody
// answers. A click on the question itself shows more of it and never allows; nothing
// is offered to be allowed that was not shown whole; and an answer that comes faster
// than anybody can read is not taken.
package companion

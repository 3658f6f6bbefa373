// SPDX-License-Identifier: Apache-2.0

// Package desktop is a desktop for tests: a session bus of its own, a screen (Xvfb),
// real notification servers, a mouse that clicks, and screenshots.
//
// Nothing of it is shared with whoever sits at the machine: the bus has its own
// socket and starts no services, the screen its own display. Screenshots are kept in
// the directory that PADDOCK_SCREENSHOTS names, if it does.
package desktop

// SPDX-License-Identifier: Apache-2.0

// Package notify is a client of desktop notification servers: the
// org.freedesktop.Notifications interface of a session bus, version 1.2 of the
// Desktop Notifications Specification.
//
// It is written for questions whose answer matters. Every process of the user
// reaches the session bus, may send signals to anybody on it and may take a name
// that nobody has. So the client talks to the unique name of one server, which was
// looked at first, believes signals only from there, and notices when another takes
// the name; what waits is then shown again. A server that does not answer never
// holds up the client.
package notify

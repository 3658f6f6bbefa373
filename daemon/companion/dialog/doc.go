// SPDX-License-Identifier: Apache-2.0

// Package dialog shows questions as dialogs of macOS, one after the other: with
// swiftDialog where an organisation has installed it, else with AppleScript's own.
// Notifications there have buttons only for signed applications.
//
// Texts are arguments of the programs, never part of a script: nothing an agent
// writes is executed. Refusing is the button that the return key presses.
//
// The programs are macOS's, the package is not: it is tested where there are none.
package dialog

// SPDX-License-Identifier: Apache-2.0

package dialog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/companion/notify"
)

// SwiftDialog shows dialogs with swiftDialog, of version 2.3 and later.
type SwiftDialog struct {
	Path string // of dialog
}

// Exit codes of swiftDialog, from its documentation.
const (
	swiftButton1 = 0 // also pressed by the return key: Deny
	swiftButton2 = 2
	swiftInfo    = 3
	swiftQuit    = 5
	swiftCommand = 10 // ⌘Q
	swiftTimer   = 20
)

// Ask shows a dialog.
func (s SwiftDialog) Ask(ctx context.Context, n notify.Notification) (string, error) {
	actions, err := buttons(n)
	if err != nil {
		return "", err
	}
	args := []string{
		"--title", escapeMarkdown(n.Summary), "--message", escapeMarkdown(n.Body), "--messagealignment", "left", "--icon", "caution",
		"--ontop", "--timer", fmt.Sprint(int(giveUp.Seconds())), "--hidetimerbar",
	}
	for i, flag := range []string{"--button1text", "--button2text", "--infobuttontext"} {
		if i < len(actions) {
			args = append(args, flag, actions[i].Label)
		}
	}
	_, err = output(ctx, s.Path, args...)
	code := swiftButton1
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
	} else if err != nil {
		return "", err
	}
	pressed := map[int]int{swiftButton1: 0, swiftButton2: 1, swiftInfo: 2}
	i, isButton := pressed[code]
	switch {
	case isButton && i < len(actions):
		return actions[i].Key, nil
	case code == swiftQuit, code == swiftCommand, code == swiftTimer:
		return "", nil
	}
	return "", err
}

// escapeMarkdown keeps swiftDialog from reading a text as Markdown: it would hide
// what looks like a link or a comment. A line break needs two spaces before it.
func escapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString("  \n")
			continue
		case r < 0x80 && strings.ContainsRune("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
